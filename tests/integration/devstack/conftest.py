"""Stacks in a temporary folder, driven as a person would: by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.devstack import processes

PROJECT = Path(__file__).resolve().parents[3]


class Terminal:
    """Runs `sentinai stack …` on instances below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._environment = {**os.environ, "SENTINAI_STACK_DIR": str(root)}

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in a session of its own, as a terminal does."""
        return subprocess.Popen(
            [sys.executable, "-m", "service.cli", "stack", *arguments],
            cwd=PROJECT,
            env={**self._environment, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*arguments, environ=environ)
        out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def status(self, name: str) -> dict[str, Any]:
        """What `status --json` says."""
        answer: dict[str, Any] = json.loads(self.run("status", "--json", "--name", name).stdout)
        return answer

    def pids(self, name: str) -> dict[str, int]:
        """The pid of each running process."""
        return {row["name"]: row["pid"] for row in self.status(name)["processes"]}

    def living(self, name: str) -> list[psutil.Process]:
        """Processes of the instance that are there, whatever its supervisor says."""
        return processes.belonging(self.root / name)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the signal goes to the terminal's whole group."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal whose stacks are gone afterwards."""
    terminal = Terminal(tmp_path_factory.mktemp("stacks"))
    yield terminal
    for home in terminal.root.iterdir():
        if home.is_dir():
            processes.end(processes.belonging(home), 1)
