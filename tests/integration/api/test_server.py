"""The API as it really runs: gunicorn with its configuration, over a socket."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.api.limits import MAX_BODY_BYTES
from service.devstack.waiting import wait_until
from service.settings import Settings
from tests.integration.api.world import Tenant, World, exception

PROJECT = Path(__file__).resolve().parents[3]


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket, so that the test needs no port."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


@dataclass
class Server:
    """A running gunicorn."""

    process: subprocess.Popen[bytes]
    path: Path
    key: str = ""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own."""
        connection = _Connection(self.path)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(
                method,
                path,
                body,
                {"X-API-KEY": self.key, "Content-Type": "application/json", **headers},
                encode_chunked=chunked,
            )
            answer = connection.getresponse()
            return answer.status, orjson.loads(answer.read())
        finally:
            connection.close()


@contextmanager
def started(settings: Settings, path: Path) -> Iterator[Server]:
    """gunicorn with two processes, ended when the block ends."""
    command = [
        *("gunicorn", "-c", "python:service.api.gunicorn_config"),
        *("--bind", f"unix:{path}", "service.api:create_app()"),
    ]
    environment = {**os.environ, "DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=PROJECT, env=environment)
    running = Server(process, path)

    def missing() -> str | None:
        assert process.poll() is None, "gunicorn ended"
        try:
            return None if running.call("GET", "/healthz")[0] == 200 else "not healthy"
        except OSError as error:
            return str(error)

    try:
        wait_until(missing, "the API", 60)
        yield running
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def shared(migrated: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(migrated, tmp_path_factory.mktemp("server") / "api.sock") as running:
        yield running


@pytest.fixture
def server(shared: Server, tenant: Tenant) -> Server:
    """The server, called with this test's tenant's key."""
    return replace(shared, key=tenant.keys["admin"])


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


def test_a_body_without_a_length_is_limited_too(world: World, tenant: Tenant, server: Server) -> None:
    # given a body that is sent in pieces, of a size nobody announced
    chunked = {"Transfer-Encoding": "chunked"}
    line = orjson.dumps(exception(rawPayload={"text": "x" * 5000})) + b"\n"
    too_many = line * (MAX_BODY_BYTES // len(line) + 2)
    # when it is too large, though it could be cut off at a good place
    status, problem = server.call(
        "POST", "/exceptions/batch", pieces(too_many), **{**chunked, "Content-Type": "application/x-ndjson"}
    )
    # then it is refused as a whole
    assert (status, problem["type"]) == (413, "/docs#too-large")
    assert world.stored(tenant)["exceptions"] == 0
    # when it is not, then it is taken
    status, _ = server.call("POST", "/exceptions", pieces(orjson.dumps(exception())), **chunked)
    assert status == 202


def test_two_processes_take_the_same_request_once(world: World, tenant: Tenant, server: Server) -> None:
    # given two API processes
    body = orjson.dumps(exception(externalId="SF-1"))
    barrier = threading.Barrier(12)

    def send(_: int) -> tuple[int, Any]:
        barrier.wait()
        return server.call("POST", "/exceptions", body)

    # when the same request comes to them twelve times at once
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(12)))
    # then all have the same answer
    assert {status for status, _ in answers} == {202}
    assert len({document["exceptionId"] for _, document in answers}) == 1
    assert world.stored(tenant)["exceptions"] == 1


def test_told_to_stop_it_answers_what_it_has_begun(
    world: World, tenant: Tenant, migrated: Settings, tmp_path: Path
) -> None:
    # given a server, and senders that don't pause
    accepted: list[str] = []
    broken: list[int] = []
    with started(migrated, tmp_path / "api.sock") as server:
        sender = replace(server, key=tenant.keys["ingest"])

        def send() -> None:
            while True:
                try:
                    status, document = sender.call("POST", "/exceptions", orjson.dumps(exception()))
                except (OSError, http.client.HTTPException):
                    return
                (accepted if status == 202 else broken).append(document.get("exceptionId", status))

        senders = [threading.Thread(target=send) for _ in range(4)]
        for one in senders:
            one.start()
        wait_until(lambda: None if len(accepted) > 20 else f"{len(accepted)} accepted", "traffic", 30)
        # when the server is told to stop
        server.process.send_signal(signal.SIGTERM)
        for one in senders:
            one.join(timeout=30)
        assert server.process.wait(timeout=30) == 0
    # then nobody got a wrong answer, and what was accepted is there
    assert broken == []
    assert world.stored(tenant)["exceptions"] >= len(accepted) > 20
