"""Fixtures of the suite: a backend after the other, a connection a module, and other processes to talk to."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from tests.conformance.transport.backends import NAMES, Backend, open_backend

PROJECT = Path(__file__).resolve().parents[3]
_ANSWER_SECONDS = 60.0


class PeerProcess:
    """A process of `tests.conformance.transport.peer`."""

    def __init__(self, backend: Backend, log: Path) -> None:
        where = {"url": backend.url, "transport": backend.transport, "options": dict(backend.options)}
        command = [sys.executable, "-m", "tests.conformance.transport.peer", json.dumps(where)]
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        self._answer()

    def __call__(self, do: str, **arguments: Any) -> Any:
        """Have something done and return the answer."""
        self.begin(do, **arguments)
        return self.answer()

    def begin(self, do: str, **arguments: Any) -> None:
        """Have something done; :meth:`answer` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What came of what was begun."""
        return self._answer()["answer"]

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._close()

    def stop(self) -> None:
        """Let it end by itself."""
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._close()

    def _close(self) -> None:
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _ANSWER_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self._process.kill()
            pytest.fail(f"the other process gave no answer: {self._log.read_text()[-3000:]}")
        return json.loads(line)


@pytest.fixture(scope="session", params=NAMES)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """One backend after the other; the extra clusters live while their turn lasts."""
    if not {"REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS"} <= os.environ.keys():
        request.getfixturevalue("stack")
    with open_backend(request.param, os.environ) as backend:
        yield backend


@pytest.fixture(scope="module")
def connection(backend: Backend) -> Iterator[Connection]:
    """An open connection for tests that do it no harm."""
    with backend.connect() as connection:
        connection.connect()
        yield connection


@pytest.fixture(scope="session")
def peer(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    """Another process, for tests that do it no harm."""
    process = PeerProcess(backend, tmp_path_factory.mktemp("peer") / "log")
    yield process
    process.stop()


@pytest.fixture
def new_peer(backend: Backend, tmp_path: Path) -> Iterator[Callable[[], PeerProcess]]:
    """Starts processes that the test may kill."""
    started: list[PeerProcess] = []

    def start(changed: Backend = backend) -> PeerProcess:
        started.append(PeerProcess(changed, tmp_path / f"peer-{len(started)}.log"))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def name() -> str:
    """A name for a queue or an exchange that no other test has."""
    return f"n-{uuid.uuid4().hex[:8]}"
