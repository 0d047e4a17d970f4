"""The processes of a run: consumers and Celery workers by slot, one incarnation after the other, and the producers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.transport.plan import Scale, Share

PROJECT = Path(__file__).resolve().parents[3]
_END_SECONDS = 45.0


class Fleet:
    """Starts, signals and ends processes; each has a journal and a log of its own, named for its incarnation."""

    def __init__(self, scale: Scale, url: str, options: dict[str, Any], folder: Path) -> None:
        self._scale = scale
        self._where = {"url": url, "options": options}
        self._journals, self._logs = folder / "journals", folder / "logs"
        for made in (self._journals, self._logs):
            made.mkdir(parents=True)
        self._incarnations: Counter[str] = Counter()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._producers: list[subprocess.Popen[bytes]] = []

    @property
    def journals(self) -> Path:
        """The folder of the journals."""
        return self._journals

    def incarnation(self, slot: str) -> str:
        """The name of the process that is, or was last, in a slot."""
        return f"{slot}.{self._incarnations[slot]}"

    def start(self, slot: str) -> None:
        """Start the next incarnation of a consumer or worker."""
        self._incarnations[slot] += 1
        name = self.incarnation(slot)
        seed = f"{self._scale.seed}-{name}"
        own = {**self._where, "journal": str(self._journals / name), "seed": seed, "prefetch": self._scale.prefetch}
        if slot.startswith("worker"):
            command = ["-m", "celery", "-A", "tests.chaos.transport.tasks", "worker", "-c", "2", "-l", "INFO"]
            self._running[slot] = self._spawn([*command, "-n", f"{name}@chaos"], name, CHAOS=json.dumps(own))
        else:
            self._running[slot] = self._spawn(["-m", "tests.chaos.transport.consumer", json.dumps(own)], name)

    def publish(self, share: Share) -> None:
        """Start a producer."""
        own = {**self._where, **asdict(share), "journal": str(self._journals / share.name)}
        self._producers.append(self._spawn(["-m", "tests.chaos.transport.producer", json.dumps(own)], share.name))

    def publishing(self) -> bool:
        """Whether any producer is not done yet. Raises RuntimeError for one that failed."""
        codes = [producer.poll() for producer in self._producers]
        if any(codes):
            raise RuntimeError(f"a producer ended with {codes}; see {self._logs}")
        return None in codes

    def send(self, slot: str, which: signal.Signals) -> None:
        """Send a signal to everything in a slot: a machine's processes stand still, or die, together."""
        for process in self._tree(slot):
            process.send_signal(which)

    def kill(self, slot: str) -> None:
        """kill -9 of everything in a slot."""
        self.send(slot, signal.SIGKILL)
        self._running.pop(slot).wait(10)

    def kill_child(self, slot: str) -> None:
        """kill -9 of one pool process."""
        children = psutil.Process(self._running[slot].pid).children()
        if children:
            children[0].kill()

    def end(self, slot: str) -> bool:
        """SIGTERM, which must suffice; False when it did not, within a time that is long on any machine."""
        process = self._running.pop(slot)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._running[slot] = process
            self.kill(slot)
            return False
        return True

    def remove(self) -> None:
        """Kill whatever is left."""
        for slot in list(self._running):
            self.kill(slot)
        for producer in self._producers:
            producer.kill()
            producer.wait(10)

    def _tree(self, slot: str) -> list[psutil.Process]:
        parent = psutil.Process(self._running[slot].pid)
        return [*parent.children(recursive=True), parent]

    def _spawn(self, arguments: list[str], name: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self._logs / name).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
