"""Supervising the processes of one instance with supervisord: its configuration and what we ask of it.

Restarts with backoff, log files and signals are supervisord's business. Which processes there are and when
they are ready is not known here.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import xmlrpc.client
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from service.devstack.errors import NotReadyError, StackError
from service.devstack.instance import Instance, Profile, write_private
from service.devstack.processes import MARKER
from service.devstack.programs import Program
from service.devstack.waiting import wait_until

_START_SECONDS = 60
_LONGEST_SOCKET = 90
"""A UNIX socket's path may have 107 bytes, and supervisord adds its pid while it makes one."""
_START_RETRIES = {Profile.DEV: 20, Profile.SEED: 20, Profile.CLUSTER: 1_000_000}
"""How often a process that dies at once is started again, after pauses that grow by a second each time. A cluster is
there to be broken: what cannot start while its disk is full, say, comes back by itself whenever it can."""
LIVE_STATES = frozenset({"STARTING", "RUNNING", "STOPPING"})


@dataclass(frozen=True)
class ProcessState:
    """What supervisord says of a process."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""
    pid: int | None


def socket_path(instance: Instance) -> Path:
    """Where supervisord listens: in the instance's folder, or in the temporary folder where that is too deep."""
    near = instance.home / "supervisor.sock"
    if len(os.fsencode(near)) <= _LONGEST_SOCKET:
        return near
    digest = hashlib.sha256(os.fsencode(instance.home)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sentinai-{os.geteuid()}-{digest}.sock"


def render(instance: Instance, programs: Sequence[Program]) -> str:
    """supervisord's configuration. Nothing starts by itself: `up` starts processes in the order of their needs."""
    sections = [_daemon_section(instance), *(_program_section(instance, program) for program in programs)]
    return "\n".join(sections)


def _daemon_section(instance: Instance) -> str:
    home, sock = _plain(str(instance.home)), _plain(str(socket_path(instance)))
    lines = [
        "[supervisord]",
        f"logfile={home}/logs/supervisord.log",
        "logfile_maxbytes=2MB",
        "logfile_backups=1",
        f"pidfile={home}/supervisord.pid",
        f"directory={home}",
        "nodaemon=true",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={sock}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    return "\n".join(lines) + "\n"


def _program_section(instance: Instance, program: Program) -> str:
    environment = ",".join(f"{name}={_quoted(value)}" for name, value in sorted(program.environment.items()))
    lines = [
        f"[program:{program.name}]",
        f"command={_plain(shlex.join(program.command))}",
        f"directory={_plain(str(program.directory))}",
        *([f"environment={environment}"] if environment else []),
        "autostart=false",
        "autorestart=true",
        "startsecs=1",
        f"startretries={_START_RETRIES[instance.profile]}",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_seconds}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_plain(str(log_file(instance, program.name)))}",
        "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """supervisord expands %(name)s in every value and takes ` ;` for a comment."""
    if " ;" in text or "\n" in text:
        raise StackError(f"supervisord cannot be given {text!r}: move the clone to a path without ' ;' or a line break")
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def log_file(instance: Instance, name: str) -> Path:
    """Output and errors of a process."""
    return instance.logs / f"{name}.log"


class Supervisor:
    """The supervisord of one instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._socket = socket_path(instance)

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except OSError:
            return False
        return True

    def start(self, programs: Sequence[Program]) -> None:
        """Start supervisord with these programs, none of them running; when it runs already, teach it new ones.

        Raises StackError when it does not come up.
        """
        config = self._instance.conf / "supervisord.conf"
        write_private(config, render(self._instance, programs))
        if self.is_running():
            self._update()
            return
        self._socket.unlink(missing_ok=True)
        output = self._instance.logs / "supervisord.out"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, MARKER: str(self._instance.home)},
                # A group of its own: the terminal's Ctrl-C goes to `up`, which ends the processes in order.
                start_new_session=True,
            )
        wait_until(lambda: self._start_missing(process, output), "supervisord", _START_SECONDS)
        # It outlives us as a rule; where it does not, as in a test, its end is noticed and no zombie is left.
        threading.Thread(target=process.wait, daemon=True).start()

    def _start_missing(self, process: subprocess.Popen[bytes], output: Path) -> str | None:
        if process.poll() is not None:
            lines = output.read_text(errors="replace").strip().splitlines() or ["no reason given"]
            raise StackError(f"supervisord did not start: {lines[-1]}")
        return None if self.is_running() else "it does not answer"

    def _update(self) -> None:
        """Take over a changed process table; a process that runs keeps running as it is."""
        (added, changed, removed), *_ = self._call("reloadConfig")
        states = self.states()
        for name in (*removed, *changed):
            if name in states and states[name].state in ("FATAL", "BACKOFF", "EXITED", "STOPPED"):
                self._call("removeProcessGroup", name)
        for name in added:
            self._call("addProcessGroup", name)
        for name in changed:
            if name not in self.states():
                self._call("addProcessGroup", name)

    def states(self) -> dict[str, ProcessState]:
        """Every known process by name; empty when supervisord is not running."""
        try:
            rows: list[dict[str, Any]] = self._call("getAllProcessInfo")
        except OSError:
            return {}
        return {row["name"]: ProcessState(row["name"], row["statename"], row["pid"] or None) for row in rows}

    def start_program(self, name: str) -> None:
        """Start a process; it is not ready when this returns."""
        self._call("startProcess", name, False)

    def stop_programs(self, names: Collection[str], seconds: float) -> None:
        """Stop processes at the same time and wait for their ends, at most this long."""
        states = self.states()
        for name in names:
            if name in states and states[name].state in (*LIVE_STATES, "BACKOFF"):
                self._tell("stopProcess", name, False)

        def still_up() -> str | None:
            live = [s.name for s in self.states().values() if s.name in names and s.state in LIVE_STATES]
            return ", ".join(live) or None

        try:
            wait_until(still_up, "the end of the processes", seconds)
        except NotReadyError:
            return  # the caller ends what is left by pid

    def shutdown(self) -> None:
        """Ask supervisord to end; it may still be ending when this returns."""
        try:
            self._call("shutdown")
        except OSError:
            return

    def _tell(self, method: str, *arguments: object) -> None:
        """A call that does not mind when the process changed its state in the meantime."""
        try:
            self._call(method, *arguments)
        except (xmlrpc.client.Fault, OSError):
            return

    def _call(self, method: str, *arguments: object) -> Any:
        # A connection a call: threads start services side by side, and supervisord closes idle ones.
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()
