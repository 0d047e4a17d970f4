"""Circuit breakers on a real Redis of the test's own, which the last test takes away."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
import redis

from service.devstack.instance import HOST
from service.devstack.ports import DEFAULT_RANGE, choose_ports
from service.devstack.redis_server import binary
from service.devstack.waiting import wait_until
from service.tools.breakers import LOOK_SECONDS, BreakerPolicy, Name, RedisBreakers, connect

pytestmark = pytest.mark.stack

POLICY = BreakerPolicy(failures=3, open_seconds=10.0)
PROBE_SECONDS = 20.0


@dataclass
class RedisServer:
    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)


@dataclass
class Clocks:
    """The processes' and the wall's, moved by hand."""

    steady: float = 1000.0
    wall: float = 0.0

    def pass_by(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    port = choose_ports(["redis"], {}, DEFAULT_RANGE)["redis"]
    command = [str(binary()), "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    running = RedisServer(f"redis://{HOST}:{port}/0", process)
    client = redis.Redis.from_url(running.url)

    def missing() -> str | None:
        try:
            client.ping()
        except redis.RedisError as error:
            return str(error)
        return None

    try:
        wait_until(missing, "Redis", 20)
        yield running
    finally:
        client.close()
        running.kill()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks(wall=time.time())


@pytest.fixture
def worker(server: RedisServer, clocks: Clocks) -> Iterator[Callable[[], RedisBreakers]]:
    """Makes the breakers of one more worker process."""
    clients: list[redis.Redis] = []

    def start() -> RedisBreakers:
        clients.append(connect(server.url))
        return RedisBreakers(clients[-1], POLICY, lambda: clocks.steady, lambda: clocks.wall)

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def tool() -> Name:
    return f"tenant-{uuid4().hex[:8]}", "pay"


def fail(breakers: RedisBreakers, tool: Name, times: int) -> None:
    for _ in range(times):
        breakers.record(tool, succeeded=0, failed=1)


def test_failures_seen_by_different_workers_open_the_breaker_for_all(
    worker: Callable[[], RedisBreakers], tool: Name, clocks: Clocks
) -> None:
    # given two workers, and a tool that fails for both
    one, other = worker(), worker()
    fail(one, tool, 2)
    assert other.passage(tool, PROBE_SECONDS).open
    fail(other, tool, 1)
    # then both hold its calls, and say why and for how long
    clocks.pass_by(LOOK_SECONDS)
    passages = [one.passage(tool, PROBE_SECONDS), other.passage(tool, PROBE_SECONDS)]
    assert [(p.open, p.probe) for p in passages] == [(False, False)] * 2
    assert "'pay' is open after 3 failed calls in a row" in passages[0].reason
    assert POLICY.open_seconds / 2 < passages[0].seconds <= POLICY.open_seconds
    # and the same tool of another tenant is not affected
    assert one.passage(("another", "pay"), PROBE_SECONDS).open


def test_a_success_in_between_ends_the_row(worker: Callable[[], RedisBreakers], tool: Name, clocks: Clocks) -> None:
    breakers = worker()
    fail(breakers, tool, 2)
    breakers.record(tool, succeeded=1, failed=0)
    fail(breakers, tool, 2)
    clocks.pass_by(LOOK_SECONDS)
    assert breakers.passage(tool, PROBE_SECONDS).open


def test_one_probe_goes_out_in_the_whole_fleet_and_its_success_closes_the_breaker(
    worker: Callable[[], RedisBreakers], tool: Name, clocks: Clocks
) -> None:
    # given an open breaker whose time is over
    workers = [worker() for _ in range(3)]
    fail(workers[0], tool, POLICY.failures)
    clocks.pass_by(POLICY.open_seconds + 1)
    # when every worker has a call to make
    passages = [one.passage(tool, PROBE_SECONDS) for one in workers]
    # then one may make it
    assert [p.probe for p in passages].count(True) == 1
    assert not any(p.open for p in passages)
    # and answers to calls from before say nothing
    workers[1].record(tool, succeeded=1, failed=0)
    clocks.pass_by(LOOK_SECONDS)
    assert not workers[2].passage(tool, PROBE_SECONDS).open
    # when it works
    workers[0].record_probe(tool, succeeded=True)
    clocks.pass_by(LOOK_SECONDS)
    # then all may call again
    assert all(one.passage(tool, PROBE_SECONDS).open for one in workers)


def test_a_probe_that_fails_keeps_the_tool_closed_off_for_as_long_again(
    worker: Callable[[], RedisBreakers], tool: Name, clocks: Clocks
) -> None:
    breakers = worker()
    fail(breakers, tool, POLICY.failures)
    clocks.pass_by(POLICY.open_seconds + 1)
    assert breakers.passage(tool, PROBE_SECONDS).probe
    # when the probe fails, and answers to calls from before come in
    breakers.record_probe(tool, succeeded=False)
    clocks.wall = time.time()  # the library notes the time of opening by the real clock
    breakers.record(tool, succeeded=1, failed=0)
    # then it is open once more
    passage = breakers.passage(tool, PROBE_SECONDS)
    assert (passage.open, passage.probe) == (False, False)
    assert "is open" in passage.reason


def test_without_redis_calls_go_on_and_nobody_waits_for_it(
    server: RedisServer, worker: Callable[[], RedisBreakers], tool: Name, clocks: Clocks
) -> None:
    # given an open breaker
    breakers = worker()
    fail(breakers, tool, POLICY.failures)
    clocks.pass_by(LOOK_SECONDS)
    assert not breakers.passage(tool, PROBE_SECONDS).open
    # when Redis is killed
    server.kill()
    clocks.pass_by(LOOK_SECONDS)
    # then its tool may be called, and what becomes of calls is taken in without an error
    assert breakers.passage(tool, PROBE_SECONDS).open
    fail(breakers, tool, POLICY.failures)
    breakers.record_probe(tool, succeeded=True)
    assert breakers.passage(tool, PROBE_SECONDS).open
