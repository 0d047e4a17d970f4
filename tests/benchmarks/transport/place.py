"""Where one measurement happens: an application, its queues, worker processes, and what the tasks noted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from celery import Celery

from .application import HOLD_VARIABLE, SETTINGS_VARIABLE, STAMPS_VARIABLE, make_app
from .backends import Backend
from .stamps import Stamps

PROJECT = Path(__file__).resolve().parents[3]
_READY_SECONDS = 40.0
_PAUSE = 0.05


@dataclass
class Place:
    """One backend, its queues, and the processes that were started on them."""

    backend: Backend
    folder: Path
    queues: list[str]
    app: Celery
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def stamps(self) -> Stamps:
        """What the tasks noted."""
        return Stamps(self.folder / "stamps")

    @property
    def held(self) -> Path:
        """While this file exists, ``bench.hold`` goes on."""
        return self.folder / "hold"

    def start_worker(self, pool: str, size: int, loglevel: str = "INFO") -> psutil.Process:
        """Start a worker on all queues; it is not ready yet."""
        number = len(self.workers)
        command = [sys.executable, "-m", "celery", "-A", "tests.benchmarks.transport.worker_app", "worker"]
        command += ["-P", pool, "-c", str(size), "-n", f"w{number}@{self.backend.prefix}", "-l", loglevel]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", ",".join(self.queues)]
        settings = json.dumps({"celery": self.backend.settings(), "queues": self.queues})
        environment = {
            **os.environ,
            SETTINGS_VARIABLE: settings,
            STAMPS_VARIABLE: str(self.folder / "stamps"),
            HOLD_VARIABLE: str(self.held),
        }
        with (self.folder / f"worker{number}.log").open("wb") as log:
            worker = subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=log, stderr=log)
        self.workers.append(worker)
        return psutil.Process(worker.pid)

    def wait_until_ready(self) -> None:
        """Wait until every worker says that it is ready.

        Raises:
            RuntimeError: one ended, or took too long.
        """
        deadline = time.monotonic() + _READY_SECONDS
        for number, worker in enumerate(self.workers):
            while " ready." not in (log := self.log(number)):
                if worker.poll() is not None:
                    raise RuntimeError(f"the worker ended: {log[-1500:]}")
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no worker ready within {_READY_SECONDS:g} s: {log[-1500:]}")
                time.sleep(_PAUSE)

    def log(self, number: int) -> str:
        """What a worker has written."""
        return (self.folder / f"worker{number}.log").read_text(errors="replace")

    def end_workers(self) -> None:
        """End them at once: what they could still do is thrown away with the queues."""
        for worker in self.workers:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(worker.pid).children(recursive=True):
                    with suppress(psutil.NoSuchProcess):
                        child.send_signal(signal.SIGKILL)
            worker.kill()
            worker.wait(10)


@contextmanager
def place_for(backend: Backend, queues: int) -> Iterator[Place]:
    """Make a place with so many queues; leave nothing behind."""
    names = [f"{backend.prefix}q{number}" if backend.name == "stock" else f"q{number}" for number in range(queues)]
    with TemporaryDirectory(prefix="bench-") as folder:
        place = Place(backend, Path(folder), names, make_app(backend.settings(), names))
        try:
            yield place
        finally:
            place.end_workers()
            backend.remove()
