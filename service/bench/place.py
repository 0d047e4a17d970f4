"""On which stack is measured: one of the bench's own, removed afterwards, or one that runs already."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.devstack import applications, stack
from service.devstack.demo import seed_demo
from service.devstack.errors import StackError
from service.devstack.instance import Instance, Profile, load, with_demo
from service.devstack.lock import exclusive
from service.devstack.progress import Progress
from service.devstack.supervision import LIVE_STATES, Supervisor

OWN = "bench"


def running_stack(root: Path, name: str) -> Instance:
    """A stack that runs with all its application processes and demo tenants. Raises StackError when it does not."""
    instance = load(root / name)
    states = Supervisor(instance).states() if instance is not None else {}
    if instance is None or not states:
        raise StackError(f"stack {name!r} does not run; start it with `sentinai stack up --name {name} --demo`")
    needed = [program for program in applications.names(instance.profile) if instance.api_url]
    missing = [program for program in needed if program not in states or states[program].state not in LIVE_STATES]
    if missing or not needed or not instance.tenants:
        what = f"{', '.join(missing)} not running" if missing else "no demo tenants"
        raise StackError(f"stack {name!r} cannot be measured ({what}); `sentinai stack up --name {name} --demo` helps")
    return instance


@contextmanager
def own_stack(
    project: Path,
    root: Path,
    ports: range,
    environ: Mapping[str, str],
    progress: Progress,
    profile: Profile = Profile.DEV,
) -> Iterator[Instance]:
    """A stack for this run, fresh and removed with the block; one that was running before stays."""
    place = stack.Place(project, root, OWN)
    lock = root / f"{OWN}.measuring"

    def seed(instance: Instance) -> Instance:
        demo = seed_demo(instance.database_url, project, instance.tenants)
        return with_demo(instance, demo.tenants, demo.samples)

    with exclusive(lock, "up"):
        known = load(place.home)
        was_running = known is not None and Supervisor(known).is_running()
        if not was_running:
            stack.down(place, remove=True)
        try:
            yield stack.up(place, stack.Wanted(profile, ports=ports, demo=seed), environ, progress)
        finally:
            if not was_running:
                with _undisturbed(), progress.step("The bench's own stack is removed"):
                    stack.down(place, remove=True)
    lock.unlink(missing_ok=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not leave processes behind; ending takes seconds."""
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def stacks_folder(project: Path, environ: Mapping[str, str]) -> Path:
    """The folder with one folder an instance, as `sentinai stack` has it."""
    return Path(environ.get("SENTINAI_STACK_DIR") or project / ".stack").resolve()


def program_pids(instance: Instance) -> dict[str, int]:
    """Process id of every running program of the stack, by name."""
    return {name: state.pid for name, state in Supervisor(instance).states().items() if state.pid is not None}


def other_stacks(root: Path, measured: str) -> list[str]:
    """Names of other stacks that run on this machine from the same folder, and so disturb the figures."""
    running = []
    for state in sorted(root.glob("*/state.json")):
        instance = load(state.parent) if state.parent.name != measured else None
        if instance is not None and Supervisor(instance).states():
            running.append(instance.name)
    return running
