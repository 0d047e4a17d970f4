"""The application's own processes under test: started natively on the services of the run, and killable.

Every kind is started as it is in production: gunicorn, `sentinai dispatch`, `sentinai relay`, Celery workers
and beat. Logs go to files that a failing test names.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from service.devstack.applications import WORKER_QUEUES
from service.devstack.instance import HOST
from service.devstack.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[1]
READY_SECONDS = 60


@dataclass
class FleetProcess:
    """One process (with its children) of a kind."""

    kind: str
    popen: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """kill -9 of the process and its children, as a machine that dies would."""
        for process in [*psutil.Process(self.popen.pid).children(recursive=True), psutil.Process(self.popen.pid)]:
            process.kill()
        self.popen.wait(timeout=10)

    def kill_one_child(self) -> None:
        """kill -9 of one child only: a prefork pool's process."""
        psutil.Process(self.popen.pid).children()[0].kill()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class Fleet:
    """Application processes on a set of services."""

    environment: Mapping[str, str]
    api_port: int
    logs: Path
    worker_app: str = "tasks"
    """The Celery application of the workers; `tests.chaos.poisoned_worker` is one that exceptions can kill."""
    worker_options: tuple[str, ...] = ("-c", "2")
    """Celery's options of the pool."""
    processes: list[FleetProcess] = field(default_factory=list)

    @property
    def api_url(self) -> str:
        """Where the API listens."""
        return f"http://{HOST}:{self.api_port}"

    def start(self, kind: str) -> FleetProcess:
        """Start one more process of a kind."""
        number = sum(1 for process in self.processes if process.kind == kind)
        log = self.logs / f"{kind}-{number}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                self._command(kind, number),
                cwd=PROJECT,
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process = FleetProcess(kind, popen, log)
        self.processes.append(process)
        return process

    def start_all(self) -> None:
        """One process of every kind, ready when the API answers and the worker consumes."""
        for kind in ("api", "dispatcher", "relay", "worker", "beat"):
            self.start(kind)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until the API is ready and every worker holds partitions of its queues."""
        wait_until(self._api_missing, "the API", READY_SECONDS)
        for process in self.processes:
            if process.kind == "worker" and process.popen.poll() is None:
                wait_until(lambda p=process: _worker_missing(p), "a worker", READY_SECONDS)

    def alive(self, kind: str) -> list[FleetProcess]:
        """The running processes of a kind."""
        return [p for p in self.processes if p.kind == kind and p.popen.poll() is None]

    def stop(self) -> None:
        """End every process."""
        for process in reversed(self.processes):
            process.stop()

    def _command(self, kind: str, number: int) -> list[str]:
        python = sys.executable
        celery = [python, "-m", "celery", "-A", "tasks"]
        commands = {
            "api": [
                *(python, "-m", "gunicorn", "service.api:create_app()", "--bind", f"{HOST}:{self.api_port}"),
                *("--workers", "2", "--threads", "4", "--worker-class", "gthread", "--no-control-socket"),
            ],
            "dispatcher": [python, "-m", "service.cli", "dispatch"],
            "relay": [python, "-m", "service.cli", "relay"],
            "worker": [
                *(python, "-m", "celery", "-A", self.worker_app),
                *("worker", "-Q", WORKER_QUEUES, "-n", f"worker{number}-{os.getpid()}@test", "-E"),
                *("--loglevel", "INFO", *self.worker_options),
            ],
            "beat": [*celery, "beat", "-s", str(self.logs / "celerybeat-schedule"), "--pidfile=", "-l", "INFO"],
        }
        return commands[kind]

    def _api_missing(self) -> str | None:
        try:
            with urllib.request.urlopen(f"{self.api_url}/readyz", timeout=2):
                return None
        except OSError as error:
            return f"{error}; see {self.logs}"


def _worker_missing(process: FleetProcess) -> str | None:
    if process.popen.poll() is not None:
        return f"the worker ended; see {process.log}"
    text = process.log.read_text(errors="replace")
    return None if " ready." in text and "assigned" in text else f"not consuming yet; see {process.log}"
