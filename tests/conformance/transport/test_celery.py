"""Celery over every backend: one worker in a process of its own, worked through its public interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery, chain

from tests.conformance.transport import celery_app
from tests.conformance.transport.backends import Backend
from tests.conformance.transport.mailbox import PATIENCE

pytestmark = pytest.mark.kafka

PROJECT = Path(__file__).resolve().parents[3]


class Worker:
    """The worker's process, and an application here that sends it work."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._journal = folder / "journal"
        self.log = folder / "log"
        where = {"url": backend.url, "transport": backend.transport, "options": dict(backend.options)}
        self.app: Celery = celery_app.configured(where)
        environment = {
            **os.environ,
            "CONFORMANCE_BACKEND": json.dumps(where),
            "CONFORMANCE_JOURNAL": str(self._journal),
        }
        command = [sys.executable, "-m", "celery", "-A", "tests.conformance.transport.celery_app", "worker"]
        command += ["-c", "2", "-l", "INFO", "-n", "conformance@test"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=log)

    def entries(self, kind: str, count: int, seconds: float = PATIENCE) -> list[dict[str, object]]:
        """What tasks of a kind wrote, once there are this many entries."""
        deadline = time.monotonic() + seconds
        while len(found := self._entries(kind)) < count:
            assert time.monotonic() < deadline, f"{found}; the worker says: {self.log.read_text()[-2000:]}"
            time.sleep(0.02)
        return found

    def _entries(self, kind: str) -> list[dict[str, object]]:
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]

    def stop(self) -> None:
        """Warm shutdown, and a kill when it takes too long."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self.app.close()


@pytest.fixture(scope="module")
def worker(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A prefork worker that works."""
    worker = Worker(backend, tmp_path_factory.mktemp("celery"))
    worker.app.send_task("note", ("ready",))
    worker.entries("ready", 1, 60)
    yield worker
    worker.stop()


def test_a_task_runs_once(worker: Worker) -> None:
    worker.app.send_task("note", ("plain",), {"number": 1})
    assert worker.entries("plain", 1)[0]["number"] == 1


def test_a_chain_goes_through_the_pools_processes(worker: Worker) -> None:
    steps = [worker.app.signature("add", (1,), {"of": "chain"}) for _ in range(3)]
    chain(worker.app.signature("add", (0, 1), {"of": "chain"}), *steps).apply_async()
    assert [entry["total"] for entry in worker.entries("chain", 4)] == [1, 2, 3, 4]


def test_a_countdown_is_kept(worker: Worker) -> None:
    due = time.time() + 1.5
    worker.app.send_task("note", ("delayed",), countdown=1.5)
    [entry] = worker.entries("delayed", 1)
    assert isinstance(entry["at"], float)
    assert -0.05 <= entry["at"] - due < 10


def test_a_retry_comes_back(worker: Worker) -> None:
    worker.app.send_task("flaky", ("retries",), {"fails": 2})
    assert [entry["tries"] for entry in worker.entries("retries", 3)] == [0, 1, 2]


def test_a_task_that_expired_does_not_run(worker: Worker) -> None:
    worker.app.send_task("note", ("expired",), expires=-1)
    worker.app.send_task("note", ("after-expired",))
    worker.entries("after-expired", 1)
    assert worker.entries("expired", 0) == []


def test_a_task_that_kills_its_process_runs_again(worker: Worker) -> None:
    worker.app.send_task("last_words", ("lost",))
    assert [entry["redelivered"] for entry in worker.entries("lost", 2)] == [False, True]


def test_the_worker_answers_and_revokes(worker: Worker) -> None:
    # given a task that waits for its time, and a worker that is told to revoke it
    assert list(worker.app.control.inspect(timeout=10, limit=1).ping() or {}) == ["conformance@test"]
    doomed = worker.app.send_task("note", ("revoked",), countdown=1.5)
    worker.app.control.revoke(doomed.id)
    worker.app.send_task("note", ("after-revoked",), countdown=2.0)
    # then what comes after it runs, and it does not
    worker.entries("after-revoked", 1)
    assert worker.entries("revoked", 0) == []
