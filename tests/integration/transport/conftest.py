"""A broker, a corner of it for each test, and worker processes that can be killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from service.transport.cluster import cluster_of
from service.transport.options import Options

PROJECT = Path(__file__).resolve().parents[3]
QUEUES = ("plain", "intake", "triage", "policy", "playbook", "tool")
"""What a worker of ``app.py`` consumes unless it is told otherwise."""
Entry = dict[str, Any]


def until(look: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Return what ``look`` finds as soon as it finds something; fail with ``what`` was missing."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:g} s still missing: {what}")
        time.sleep(0.02)
    return found


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> str:
    """Bootstrap servers of a running Kafka: the environment's, else the stack's own."""
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        request.getfixturevalue("stack")
    if not os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        pytest.fail("KAFKA_BOOTSTRAP_SERVERS is not set and the stack names none: say which Kafka to test against")
    return os.environ["KAFKA_BOOTSTRAP_SERVERS"]


@dataclass
class Corner:
    """Options under which nothing meets what another test does; its topics are removed afterwards."""

    servers: str
    options: dict[str, Any]

    def connect(self, **more: Any) -> Connection:
        """Open a connection of this process."""
        options = {**self.options, **more}
        url = f"kafka://{self.servers}//"
        return Connection(url, transport="service.transport:Transport", transport_options=options)

    @property
    def typed(self) -> Options:
        return Options(bootstrap_servers=self.servers, **self.options)

    def topics(self) -> list[str]:
        found = cluster_of(self.typed).topics.metadata().topics
        return [name for name in found if name.startswith(self.options["topic_prefix"])]

    def remove(self) -> None:
        cluster = cluster_of(self.typed)
        names = self.topics()
        if names:
            for future in cluster.topics.admin.delete_topics(names).values():
                future.result(10)


def new_corner(servers: str, **options: Any) -> Corner:
    name = f"t{uuid.uuid4().hex[:8]}-"
    return Corner(
        servers, {"topic_prefix": name, "group_id": f"{name}group", "partitions": 4, "unroutable": "raise", **options}
    )


@pytest.fixture
def corner(servers: str) -> Iterator[Corner]:
    corner = new_corner(servers)
    yield corner
    corner.remove()


@dataclass
class Fleet:
    """Celery worker processes over one corner, and the journal their tasks write."""

    corner: Corner
    folder: Path
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    queues: dict[str, set[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": self.corner.servers,
            "TRANSPORT_OPTIONS": json.dumps(self.corner.options),
            "JOURNAL": str(self.folder / "journal"),
            "PYTHONPATH": str(PROJECT),
        }

    def start(self, name: str, *arguments: str) -> None:
        """Start a worker; see :meth:`ready`."""
        command = [sys.executable, "-m", "celery", "-A", "tests.integration.transport.app", "worker"]
        command += ["-n", f"{name}@test", "-l", "INFO", "-c", "2", *arguments]
        self.queues[name] = set(arguments[arguments.index("-Q") + 1].split(",") if "-Q" in arguments else QUEUES)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(command, env=self.environment, cwd=PROJECT, stdout=log, stderr=log)

    def ready(self, *names: str) -> None:
        """Wait until workers say that partitions of each of their queues are theirs."""
        for name in names:
            until(lambda name=name: self.assigned(name) >= self.queues[name], f"worker {name} has partitions")

    def assigned(self, name: str) -> set[str]:
        """The queues of which a worker was given partitions, as its log says."""
        found = re.findall(r"group group\.(\S+): assigned", self.log(name))
        return {topic.removeprefix(self.corner.options["topic_prefix"]) for topic in found}

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text().replace(self.corner.options["group_id"], "group") if path.exists() else ""

    def kill(self, name: str) -> None:
        """kill -9 a worker with its pool processes, as a machine that goes away does."""
        worker = self.workers.pop(name)
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        worker.kill()
        for child in children:
            try:
                os.kill(int(child), 9)
            except ProcessLookupError:
                continue
        worker.wait(10)

    def stop(self) -> list[str]:
        """Tell every worker to stop, and kill those that have not after 20 s; return their names."""
        for worker in self.workers.values():
            worker.terminate()
        deadline, killed = time.monotonic() + 20, []
        for name, worker in self.workers.items():
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed.append(name)
                worker.kill()
                worker.wait(5)
        self.workers.clear()
        return killed

    def run(self, code: str) -> str:
        """Run code that uses ``app`` in a process of its own, as a web application would; return what it prints."""
        prelude = "from tests.integration.transport.app import *\n"
        command = [sys.executable, "-c", prelude + code]
        done = subprocess.run(command, env=self.environment, cwd=PROJECT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def journal(self, kind: str) -> list[Entry]:
        path = self.folder / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


@pytest.fixture
def fleet(corner: Corner, tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(corner, tmp_path)
    yield fleet
    fleet.stop()


@pytest.fixture(scope="module")
def pair(servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two prefork workers that share every queue, for tests that do no harm."""
    corner = new_corner(servers)
    fleet = Fleet(corner, tmp_path_factory.mktemp("pair"))
    fleet.start("one", "-E")
    fleet.start("two", "-E")
    fleet.ready("one", "two")
    yield fleet
    fleet.stop()
    fleet.corner.remove()
