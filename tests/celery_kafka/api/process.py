"""A native process with the face of a Docker container that pytest-celery's nodes look at.

pytest-celery asks a node's container for `ready, logs, name, id, status, kill, reload, restart, teardown` and
`celeryconfig`. This gives all of it from a child process whose output goes to a file, so no Docker is needed.
What a process is told to run, and what makes it ready, is the vendors' business.
"""

from __future__ import annotations

import os
import signal as signals
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from service.devstack.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[3]
START_SECONDS = 40
STOP_SECONDS = 15
_LOG_TAIL = 4000


@dataclass(frozen=True)
class ProcessSpec:
    """What to run. `environment` is added to that of the test run; `id` is the host part of a worker's node name."""

    name: str
    id: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


class ProcessContainer:
    """A process that is started, killed, restarted and torn down like a container."""

    ready_prompt: str | None = None
    """What the log says once the process is ready; None when `_missing` tells it otherwise."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._told_to_stop = False

    @property
    def name(self) -> str:
        """Name for people."""
        return self.spec.name

    @property
    def id(self) -> str:
        """The same after a restart."""
        return self.spec.id

    @property
    def status(self) -> str:
        """`created`, `running` or `exited`."""
        if self._process is None:
            return "created"
        return "running" if self._process.poll() is None else "exited"

    @property
    def pid(self) -> int:
        """Process id of the last start."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """Settings that Celery needs to use this container; a process that serves none has none."""
        return {}

    def logs(self) -> str:
        """Everything it wrote, over all restarts."""
        return self.spec.log.read_text(errors="replace") if self.spec.log.exists() else ""

    def start(self) -> None:
        """Start it; `ready` waits for it."""
        self._log_start = len(self.logs())
        self._told_to_stop = False
        with self.spec.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.spec.command,
                cwd=PROJECT,
                env={**os.environ, **self.spec.environment, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Wait until it is ready. Fails with the end of its log when it ends or takes too long."""
        wait_until(self._missing, self.name, START_SECONDS, alive=self._assert_running)
        return True

    def reload(self) -> None:
        """Nothing to do: a process's state is always current."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal as `docker kill` does: SIGKILL takes the children too, any other reaches the main process."""
        number = signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal)
        if self.status != "running":
            return
        if number is signals.SIGKILL:
            os.killpg(self.pid, number)
            self.wait()
        else:
            os.kill(self.pid, number)
            self._told_to_stop = number is signals.SIGTERM

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end and return the exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.wait(seconds)

    def restart(self, timeout: float = STOP_SECONDS) -> None:
        """Stop it, within `timeout` seconds or by force, start it again and wait until it is ready."""
        self.teardown(timeout)
        self.start()
        self.ready()

    def teardown(self, timeout: float = STOP_SECONDS) -> None:
        """End the process and every child of it: politely, and by force after `timeout` seconds."""
        if self.status != "running":
            return
        children = psutil.Process(self.pid).children(recursive=True)
        if not self._told_to_stop:
            self.kill("SIGTERM")
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill("SIGKILL")
        for child in psutil.wait_procs(children, timeout=1)[1]:
            child.kill()

    def _missing(self) -> str | None:
        if self.ready_prompt is None or self.ready_prompt in self.logs()[self._log_start :]:
            return None
        return f"its log does not say {self.ready_prompt!r} yet"

    def _assert_running(self) -> None:
        assert self.status == "running", f"{self.name} is {self.status}; its log ends:\n{self.logs()[-_LOG_TAIL:]}"


class ServiceContainer:
    """A service that is up before the tests and stays up after them: it is looked at, never started or stopped."""

    status = "running"

    def __init__(self, name: str, celeryconfig: Mapping[str, Any]) -> None:
        self.name = name
        self.id = name
        self._celeryconfig = celeryconfig

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """Settings that Celery needs to use the service."""
        return dict(self._celeryconfig)

    def logs(self) -> str:
        """Its log belongs to the stack (`sentinai stack logs`)."""
        return ""

    def reload(self) -> None:
        """Nothing to do."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Refused: other tests use the service too."""
        raise NotImplementedError(f"{self.name} is shared with other tests; a test that ends it needs its own stack")

    def restart(self, timeout: float = STOP_SECONDS) -> None:
        """Refused, as `kill`."""
        self.kill()
