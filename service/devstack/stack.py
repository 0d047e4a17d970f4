"""Bringing one instance of the stack up, down, and telling its state.

The order of things is here; how each service is configured and asked is in its own module, and processes are
kept by supervisord. Every change happens under the instance's lock.
"""

from __future__ import annotations

import shutil
import threading
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.devstack import applications, cache, causes, jars, java, kafka, postgres, processes, redis_server
from service.devstack.adjustments import Adjust, unadjusted
from service.devstack.errors import ProcessDiedError, StackError
from service.devstack.instance import SEED_PASSWORDS, Instance, Passwords, Profile, load, new_cluster_id, save
from service.devstack.lock import exclusive
from service.devstack.ports import CLUSTER_PORTS, DEFAULT_RANGE, DEV_PORTS, SEED_PORTS, choose_ports, require_free
from service.devstack.process_table import JavaPrograms, process_table
from service.devstack.progress import Progress
from service.devstack.readiness import Check, application_checks, command_missing, service_checks
from service.devstack.supervision import Supervisor, log_file
from service.devstack.waiting import wait_until

_APPLICATION_END_SECONDS = 6.5
_SERVICE_END_SECONDS = 5
_LEFTOVER_SECONDS = 2
"""Together below 15 s: as long as Ctrl-C may take."""
_NEEDED_MEGABYTES = 500
_DEAD = frozenset({"BACKOFF", "EXITED", "FATAL"})


@dataclass(frozen=True)
class Place:
    """Where an instance lives."""

    project: Path
    """The clone; application processes run in it."""
    root: Path
    """The ignored folder with one folder an instance."""
    name: str

    @property
    def home(self) -> Path:
        """The instance's folder."""
        return self.root / self.name

    @property
    def lock(self) -> Path:
        """Beside the folder, so that removing the folder does not free the lock."""
        return self.root / f"{self.name}.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the terminal that keeps the stack in the foreground."""
        return self.root / f"{self.name}.foreground"


@dataclass(frozen=True)
class Wanted:
    """What `up` is asked for."""

    profile: Profile
    services_only: bool = False
    ports: range = DEFAULT_RANGE
    demo: Callable[[Instance], Instance] | None = None
    adjust: Adjust = unadjusted
    """For tests: what is different about this stack."""


def up(place: Place, wanted: Wanted, environ: Mapping[str, str], progress: Progress) -> Instance:
    """Start what is missing and return when all of it is ready.

    Raises StackError; then, as on KeyboardInterrupt, everything this call started has been ended again.
    """
    with cache.disk_errors(place.home), exclusive(place.lock, "up"):
        instance = _instance(place, wanted)
        run = _Start(place, instance, environ, progress, wanted.adjust)
        try:
            return run.all(wanted)
        except BaseException:
            run.undo()
            raise


def _instance(place: Place, wanted: Wanted) -> Instance:
    """The remembered instance or a new one, with ports that can be used, and its folders."""
    known = load(place.home)
    if known is not None and known.profile is not wanted.profile:
        raise StackError(
            f"{place.name!r} is a {known.profile.value} stack; give the {wanted.profile.value} one another --name"
        )
    if known is not None and Supervisor(known).is_running():
        return known
    cache.require_space(place.root, _NEEDED_MEGABYTES)
    # Children of a supervisor that was killed would hold the ports and the data.
    processes.end(processes.belonging(place.home), _SERVICE_END_SECONDS)
    instance = _with_ports(place, wanted, known)
    for folder in (instance.home, instance.logs, instance.data, instance.conf):
        folder.mkdir(parents=True, exist_ok=True)
    instance.conf.chmod(0o700)
    save(instance)
    return instance


def _with_ports(place: Place, wanted: Wanted, known: Instance | None) -> Instance:
    if wanted.profile is Profile.SEED:
        require_free(SEED_PORTS)
        ports: Mapping[str, int] = SEED_PORTS
    else:
        others = [load(path.parent) for path in place.root.glob("*/state.json") if path.parent != place.home]
        claimed = {port for other in others if other is not None for port in other.ports.values()}
        names = CLUSTER_PORTS if wanted.profile is Profile.CLUSTER else DEV_PORTS
        ports = choose_ports(names, known.ports if known else {}, wanted.ports, claimed)
    fresh = SEED_PASSWORDS if wanted.profile is Profile.SEED else Passwords.generate()
    return Instance(
        name=place.name,
        profile=wanted.profile,
        home=place.home,
        ports=ports,
        passwords=known.passwords if known else fresh,
        cluster_id=known.cluster_id if known else new_cluster_id(),
        tenants=known.tenants if known else {},
        samples=known.samples if known else {},
    )


class _Start:
    """One run of `up`: what it has started so far, so that it can be undone."""

    def __init__(
        self, place: Place, instance: Instance, environ: Mapping[str, str], progress: Progress, adjust: Adjust
    ) -> None:
        self._place = place
        self._instance = instance
        self._environ = environ
        self._progress = progress
        self._adjust = adjust
        self._supervisor = Supervisor(instance)
        self._supervisor_is_ours = False
        self._started: list[str] = []
        self._cancelled = threading.Event()

    def all(self, wanted: Wanted) -> Instance:
        """Services, then the application, then the demo."""
        self._prepare()
        with_application = not wanted.services_only and wanted.profile is not Profile.SEED
        services = service_checks(self._instance)
        for wave in self._instance.profile.start_waves:
            self._together(partial(self._service, name, services[name], with_application) for name in wave)
        if not with_application:
            return self._instance
        checks = application_checks(self._instance, self._place.project)
        names = applications.names(wanted.profile)
        self._together(partial(self._bring_up, name, checks.get(name)) for name in names)
        if wanted.demo is not None:
            with self._progress.step("Demo tenants and packs"):
                return wanted.demo(self._instance)
        return self._instance

    def _service(self, name: str, check: Check, with_schema: bool) -> None:
        """Start a service; the database gets its roles and schema while the slower Kafka is still starting."""
        self._bring_up(name, check)
        if name == "postgres":
            postgres.create_roles(self._instance)
            if with_schema:
                self._migrate()

    def undo(self) -> None:
        """End what this run started; a stack that ran before keeps running."""
        self._cancelled.set()
        if self._supervisor_is_ours:
            end_everything(self._instance)
        else:
            self._supervisor.stop_programs(self._started, _APPLICATION_END_SECONDS)

    def _prepare(self) -> None:
        """Fetch programs, make data folders and start supervisord with the process table."""
        instance = self._instance
        adjustments = self._adjust(instance)
        with self._progress.step("Programs and data folders"):
            parts: list[Callable[[], None]] = [
                lambda: postgres.prepare(instance),
                lambda: redis_server.prepare(instance),
            ]
            found = self._find_java()
            for broker in instance.brokers:
                changed = adjustments.broker_properties.get(broker, {})
                parts.append(partial(kafka.prepare, instance, broker, found.java, found.jars, changed))
            self._together(parts)
            self._supervisor_is_ours = not self._supervisor.is_running()
            self._supervisor.start(process_table(instance, self._place.project, found, adjustments))

    def _find_java(self) -> JavaPrograms:
        cache_folder, say = cache.cache_folder(self._environ), self._progress.say
        distribution = kafka.DISTRIBUTIONS[self._instance.profile]
        return JavaPrograms(
            java=java.find_java(cache_folder, self._environ, say),
            jars=jars.install(distribution, cache_folder, self._environ, say),
        )

    def _bring_up(self, name: str, check: Check | None) -> None:
        """Start one process unless it runs, and wait until it is ready."""
        if self._cancelled.is_set():
            return
        state = self._supervisor.states()[name]
        log = log_file(self._instance, name)
        since = log.stat().st_size if log.exists() else 0
        with self._progress.step(f"{name} is ready"):
            if state.state not in ("RUNNING", "STARTING"):
                self._started.append(name)
                self._spawn(name)
            missing = check.missing if check else lambda: self._not_running(name)
            seconds = check.seconds if check else 30
            wait_until(missing, name, seconds, alive=lambda: self._require_alive(name, since))

    def _spawn(self, name: str) -> None:
        try:
            self._supervisor.start_program(name)
        except xmlrpc.client.Fault as fault:
            raise ProcessDiedError(f"{name} could not be started: {fault.faultString}") from None

    def _not_running(self, name: str) -> str | None:
        state = self._supervisor.states()[name].state
        return None if state == "RUNNING" else f"it is {state}"

    def _require_alive(self, name: str, since: int) -> None:
        if self._cancelled.is_set():
            raise StackError("cancelled")
        states = self._supervisor.states()
        if name not in states or states[name].state in _DEAD:
            log = log_file(self._instance, name)
            raise ProcessDiedError(f"{name} ended while starting: {causes.cause(log, since)} (log: {log})")

    def _migrate(self) -> None:
        with self._progress.step("Database schema"):
            environment = applications.application_environment(self._instance)
            problem = command_missing(applications.migration_command(), environment, self._place.project)
            if problem is not None:
                raise StackError(f"the database schema could not be brought up to date: {problem}")

    def _together(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Run jobs side by side; the first failure cancels the others and is raised."""
        with ThreadPoolExecutor(max_workers=12) as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = next((error for future in done if (error := future.exception()) is not None), None)
                if failed is not None:
                    raise failed
            except BaseException:
                self._cancelled.set()
                raise


def down(place: Place, *, remove: bool) -> bool:
    """End every process of the instance, and with `remove` delete its folder. False when nothing ran.

    Raises StackError when a process cannot be ended.
    """
    with exclusive(place.lock, "down"):
        instance = load(place.home)
        ran = bool(processes.belonging(place.home))
        if instance is not None:
            end_everything(instance)
        if remove:
            shutil.rmtree(place.home, ignore_errors=True)
    if remove:
        place.lock.unlink(missing_ok=True)
        place.keeper_lock.unlink(missing_ok=True)
    return ran


def end_everything(instance: Instance) -> None:
    """Application first, then services, then supervisord; then by pid whatever is left."""
    supervisor = Supervisor(instance)
    states = supervisor.states()
    supervisor.stop_programs(set(states) - set(instance.profile.services), _APPLICATION_END_SECONDS)
    for wave in reversed(instance.profile.start_waves):
        supervisor.stop_programs(wave, _SERVICE_END_SECONDS)
    supervisor.shutdown()
    processes.end(processes.belonging(instance.home), _LEFTOVER_SECONDS)
