"""Consumer processes that can be killed, stopped and restarted, and the work that flows through them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kombu import Producer, Queue

from .conftest import PROJECT, Corner
from .consuming import members

JOBS = Queue("jobs")
_EVERY = 0.02


@dataclass
class Slots:
    """Processes of :mod:`.slot` over one corner. A slot's name is its instance id where ``static``."""

    corner: Corner
    folder: Path
    static: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, instance_id: str | None = None) -> None:
        """Start a process in a slot."""
        options = dict(self.corner.options)
        if self.static or instance_id:
            options["instance_id"] = instance_id or name
        environment = {
            **os.environ,
            "WORK_SECONDS": "0.01",
            **self.environment,
            "KAFKA_BOOTSTRAP_SERVERS": self.corner.servers,
            "TRANSPORT_OPTIONS": json.dumps(options),
            "JOURNAL": str(self.folder / "journal"),
        }
        command = [sys.executable, "-m", "tests.integration.transport.slot", name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=log, stderr=log)

    def signal(self, name: str, number: int) -> None:
        """Send a signal; after one that ends it, the slot is empty."""
        self.processes[name].send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.processes.pop(name).wait(30)

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)

    def log(self, name: str) -> str:
        """What a slot's processes have logged."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def entries(self) -> list[dict[str, Any]]:
        """What was worked, in order."""
        path = self.folder / "journal"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def worked(self) -> Counter[int]:
        """How often each number was worked."""
        return Counter(entry["number"] for entry in self.entries())

    def shares(self) -> list[int]:
        """How many partitions each member of the group has, as the cluster knows it."""
        return sorted(members(self.corner, "jobs").values())


class Flow:
    """Numbers published one after another, about fifty a second, until stopped."""

    def __init__(self, corner: Corner) -> None:
        self._corner = corner
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flow")
        self.sent = 0
        self.sent_at: list[float] = []

    def _run(self) -> None:
        with self._corner.connect() as connection:
            producer = Producer(connection.default_channel)
            while not self._stopping.wait(_EVERY):
                producer.publish(
                    self.sent, exchange="", routing_key="jobs", declare=[JOBS], partition_key=str(self.sent)
                )
                self.sent_at.append(time.time())
                self.sent += 1

    def stop(self) -> int:
        """End it; return how many numbers there were."""
        self._stopping.set()
        self._thread.join(60)
        return self.sent

    def start(self) -> None:
        """Begin."""
        self._thread.start()


@contextmanager
def flowing(corner: Corner) -> Iterator[Flow]:
    """Publish while the block runs."""
    flow = Flow(corner)
    flow.start()
    try:
        yield flow
    finally:
        flow.stop()
