"""The services tests run against: those the environment names, else a stack of the run's own.

The run's own stack is called `test-<pid>`, has its own ports and data, and is removed at the end, also after
a failure or Ctrl-C. One that a killed run left behind is removed by the next run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from service.devstack.instance import HOST, Instance, load
from service.devstack.ports import DEFAULT_RANGE, choose_ports
from service.devstack.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[1]
_OWN_NAME = re.compile(r"test-(?:[a-z]+-)?(\d+)")


@dataclass(frozen=True)
class StackUnderTest:
    """Services that are up. `environment` is also in os.environ while tests run."""

    environment: Mapping[str, str]
    """DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS and, where they are set, the others of service.settings."""


@pytest.fixture(scope="session")
def stack() -> Iterator[StackUnderTest]:
    """PostgreSQL, Kafka and Redis: the environment's when it names a database or broker, else our own."""
    given = {name: value for name, value in os.environ.items() if _is_setting(name)}
    if "DATABASE_URL" in given or "KAFKA_BOOTSTRAP_SERVERS" in given:
        yield StackUnderTest(given)
        return
    remove_leftovers()
    with services(f"test-{os.getpid()}") as instance, pytest.MonkeyPatch.context() as patch:
        for variable, value in instance.environment().items():
            patch.setenv(variable, value)
        yield StackUnderTest(instance.environment())


@contextmanager
def services(name: str) -> Iterator[Instance]:
    """A services-only stack of this name, removed afterwards whatever happened."""
    try:
        stack_command("up", "--services-only", "--detach", "--name", name)
        instance = load(_root() / name)
        assert instance is not None
        yield instance
    finally:
        stack_command("down", "--remove", "--name", name)


@pytest.fixture(scope="session")
def tool_server_url(stack: StackUnderTest) -> Iterator[str]:
    """The demo tool server; one of our own where the stack has none. Tools may be called on it."""
    if "SENTINAI_TOOL_SERVER_URL" in stack.environment:
        yield stack.environment["SENTINAI_TOOL_SERVER_URL"]
        return
    port = choose_ports(["tool-server"], {}, DEFAULT_RANGE)["tool-server"]
    with running_tool_server(port) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENTINAI_EGRESS_ALLOW", f"{HOST}:{port}")
        yield url


class running_tool_server:
    """A demo tool server process on a port, as a context manager giving its URL."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}"
        command = [sys.executable, "-m", "service.devstack.toolserver", "--port", str(port)]
        self._process = subprocess.Popen(command, cwd=PROJECT)

    def __enter__(self) -> str:
        wait_until(self._missing, "the tool server", 15)
        return self._url

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def _missing(self) -> str | None:
        assert self._process.poll() is None, "the tool server ended"
        try:
            with urllib.request.urlopen(f"{self._url}/healthz", timeout=2):
                return None
        except OSError as error:
            return str(error)


def remove_leftovers() -> None:
    """Remove stacks of test runs whose process is gone."""
    for home in _root().glob("test-*"):
        match = _OWN_NAME.fullmatch(home.name)
        if match and home.is_dir() and not psutil.pid_exists(int(match.group(1))):
            stack_command("down", "--remove", "--name", home.name)


def stack_command(*arguments: str) -> None:
    """Run `sentinai stack …`; its progress and errors are in the test's captured output."""
    subprocess.run([sys.executable, "-m", "service.cli", "stack", *arguments], cwd=PROJECT, check=True)


def _root() -> Path:
    return Path(os.environ.get("SENTINAI_STACK_DIR") or PROJECT / ".stack").resolve()


def _is_setting(name: str) -> bool:
    return name in ("DATABASE_URL", "DATABASE_OWNER_URL", "KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL") or name.startswith(
        "SENTINAI_"
    )
