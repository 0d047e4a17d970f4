"""Each fault bites, and what it broke is whole again when it is mended: seen at services that nobody else uses.

Faults of application processes are of the same making, and rounds (`docs/chaos.md`) meet them all.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psutil
import psycopg2
import psycopg2.errors
import pytest
import redis
import requests
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # as its own examples do

from service.settings import load_settings
from tests.chaos.pipeline import clocks
from tests.chaos.pipeline.faults.catalogue import catalogue
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.faults.network import Cut, Slow
from tests.chaos.pipeline.faults.processes import Freeze, Kill, Terminate
from tests.chaos.pipeline.faults.topics import QUEUES, parts, records
from tests.chaos.pipeline.needs import Need, missing_here
from tests.chaos.pipeline.world import World, running_world
from tests.client import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.kafka]

DISKS = [need for need in (Need.SMALL_BROKER_DISK, Need.SMALL_DATABASE_DISK) if missing_here(need) is None]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Services, with small disks where this machine can have them."""
    with running_world("faults", small=True, services_only=True, needs=DISKS) as world:
        _make_topics(world)
        yield world


def _make_topics(world: World) -> None:
    """Those of the stage queues, and one of these tests' own."""
    admin = AdminClient({"bootstrap.servers": world.kafka, "log_level": 0})
    for made in admin.create_topics([NewTopic(queue, 1, 1) for queue in (*QUEUES, "kept")]).values():
        made.result(20)


@contextmanager
def in_force(world: World, fault: Fault, seed: int = 1) -> Iterator[None]:
    """The fault strikes, is looked at, and is mended as soon as that is done."""
    fault.least_seconds = 0
    try:
        fault.strike(world, random.Random(seed))
        assert fault.told
        yield
    finally:
        fault.mend(world)


def produced(world: World, topic: str, value: bytes, seconds: float = 20) -> KafkaError | None:
    """What a producer is told of one record."""
    answers: list[KafkaError | None] = []
    settings = {"bootstrap.servers": world.kafka, "message.timeout.ms": int(seconds * 1000), "log_level": 0}
    producer = Producer(settings)
    producer.produce(topic, value, partition=0, on_delivery=lambda error, _: answers.append(error))
    producer.flush(seconds + 1)
    return answers[0]


def values(world: World, topic: str) -> list[bytes | None]:
    """Every record of the topic's one partition."""
    partition = TopicPartition(topic, 0)
    with Consumer({"bootstrap.servers": world.kafka, "group.id": "looks", "log_level": 0}) as reader:
        low, high = reader.get_watermark_offsets(partition, timeout=10)
    return [message.value() for message in records(world, partition, low, high)]


def cache(world: World) -> redis.Redis:
    return redis.Redis.from_url(world.instance.redis_url, socket_timeout=1)


def test_a_killed_process_is_another_when_it_is_mended(world: World) -> None:
    before = world.part("redis")
    assert before is not None
    with in_force(world, Kill("redis")):
        assert not psutil.pid_exists(before.pid)
    after = world.part("redis")
    assert after is not None
    assert after.pid != before.pid
    with closing(cache(world)) as client:
        assert client.ping()


def test_a_process_that_was_told_to_end_is_another_when_it_is_mended(world: World) -> None:
    before = world.part("tool-server")
    assert before is not None
    with in_force(world, Terminate("tool-server")):
        wait_for(lambda: not psutil.pid_exists(before.pid), 20)
    assert requests.get(f"{world.tool_server_url}/healthz", timeout=5).ok


def test_a_frozen_process_answers_nobody_and_is_the_same_afterwards(world: World) -> None:
    before = world.part("redis")
    assert before is not None
    with in_force(world, Freeze("redis")):
        assert psutil.Process(before.pid).status() == psutil.STATUS_STOPPED
        with closing(cache(world)) as client, pytest.raises(redis.TimeoutError):
            client.ping()
    assert world.part("redis") == before


@pytest.mark.parametrize("name", ["redis-flush", "redis-restart"])
def test_redis_has_forgotten(world: World, name: str) -> None:
    with closing(cache(world)) as client:
        client.set("kept", "x")
    with in_force(world, catalogue()[name]):
        pass
    with closing(cache(world)) as client:
        assert client.get("kept") is None


@pytest.mark.parametrize("name", ["postgres-immediate", "postgres-fast"])
def test_postgresql_ends_its_sessions_and_comes_back(world: World, name: str) -> None:
    with closing(psycopg2.connect(world.instance.superuser_url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_postmaster_start_time()")
        before = cursor.fetchone()
        with in_force(world, catalogue()[name]), pytest.raises(psycopg2.Error):
            cursor.execute("SELECT 1")
    with closing(psycopg2.connect(world.instance.superuser_url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_postmaster_start_time()")
        assert cursor.fetchone() != before


def test_a_broker_that_was_killed_stays_away_until_it_is_mended(world: World) -> None:
    assert produced(world, "kept", b"before") is None
    with in_force(world, catalogue()["kill-broker"]):
        assert world.part("kafka") is None
        assert produced(world, "kept", b"lost", seconds=2) is not None
    assert produced(world, "kept", b"after") is None
    assert values(world, "kept") == [b"before", b"after"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_cut_way_leads_nowhere(world: World, seed: int) -> None:
    with closing(_through_link(world)) as client:
        assert client.ping()
        # when the way to Redis is cut, by chance refused or silent
        with in_force(world, Cut("cut", "", _one_way, 0), seed), pytest.raises(redis.RedisError):
            client.ping()
        # then they lead there again afterwards
        assert client.ping()


def test_a_slow_way_takes_its_time(world: World) -> None:
    with closing(_through_link(world)) as client:
        assert client.ping()
        with in_force(world, Slow("slow", "", _one_way, 0)):
            began = time.monotonic()
            client.ping()
            assert time.monotonic() - began >= 0.1


def test_records_come_again_in_their_order(world: World) -> None:
    for value in (b"1", b"2"):
        assert produced(world, "triage", value) is None
    with in_force(world, catalogue()["replay-records"]):
        assert values(world, "triage") == [b"1", b"2", b"1", b"2"]


def test_consumers_begin_at_the_beginning(world: World) -> None:
    # given a queue whose group has come to the end
    assert produced(world, "policy", b"1") is None
    group = f"{load_settings(world.environment).worker_group}.policy"
    with Consumer({"bootstrap.servers": world.kafka, "group.id": group, "log_level": 0}) as consumer:
        ((_, _, end),) = parts(world, "policy")
        consumer.commit(offsets=[TopicPartition("policy", 0, end)], asynchronous=False)
        # when its offsets are reset
        with in_force(world, catalogue()["reset-offsets"]):
            (committed,) = consumer.committed([TopicPartition("policy", 0)], timeout=10)
            assert committed.offset == 0


def test_a_tool_is_slow_for_a_while(world: World) -> None:
    url = f"{world.tool_server_url}/tools/book"
    requests.post(url, json={"parameters": {}}, timeout=10)
    with in_force(world, catalogue()["slow-tool"]), pytest.raises(requests.Timeout):
        requests.post(url, json={"parameters": {}}, timeout=1)
    assert requests.post(url, json={"parameters": {}}, timeout=2).ok


@pytest.mark.skipif(Need.SMALL_DATABASE_DISK not in DISKS, reason=str(missing_here(Need.SMALL_DATABASE_DISK)))
def test_a_full_disk_of_postgresql_loses_nothing(world: World) -> None:
    def written(rows: int) -> None:
        with closing(psycopg2.connect(world.instance.superuser_url)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute("CREATE TABLE IF NOT EXISTS filled (text text)")
                cursor.execute(
                    "INSERT INTO filled SELECT repeat(md5(n::text), 60) FROM generate_series(1, %s) n", [rows]
                )

    written(1)
    with in_force(world, catalogue()["full-disk-postgres"]), pytest.raises(psycopg2.Error):
        # More than the space that PostgreSQL has already taken for itself.
        written(40_000)
    written(1)
    with closing(psycopg2.connect(world.instance.superuser_url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM filled")
        assert cursor.fetchone() == (2,)


@pytest.mark.skipif(Need.SMALL_BROKER_DISK not in DISKS, reason=str(missing_here(Need.SMALL_BROKER_DISK)))
def test_a_full_disk_of_a_broker_loses_nothing_that_was_confirmed(world: World) -> None:
    before = values(world, "tool")
    assert produced(world, "tool", b"before") is None
    with in_force(world, catalogue()["full-disk-broker"]):
        assert produced(world, "tool", os.urandom(500_000), seconds=4) is not None
    assert produced(world, "tool", b"after") is None
    kept = [value for value in values(world, "tool") if value is not None and len(value) < 100]
    assert kept == [*before, b"before", b"after"]


def test_a_clock_is_stepped_while_its_process_runs(world: World) -> None:
    # given a process with a clock of its own
    code = "import os, time\nos.fork() and os.wait()\nwhile input(): print(time.time(), time.monotonic(), flush=True)"
    environment = {**os.environ, **clocks.environment(world.instance, "worker")}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        look = _looker(process)
        clock, counter = look()
        assert abs(clock - time.time()) < 2
        # when it is stepped
        clocks.step(world.instance, "worker", 600)
        # then it is another time there, and no longer than it is
        wait_for(lambda: look()[0] - time.time() > 590, 10)
        assert abs(look()[1] - counter) < 30
        clocks.step(world.instance, "worker", 0)
        wait_for(lambda: abs(look()[0] - time.time()) < 2, 10)
        process.send_signal(signal.SIGKILL)


def _looker(process: subprocess.Popen[str]) -> Callable[[], tuple[float, float]]:
    def look() -> tuple[float, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("x\n")
        process.stdin.flush()
        clock, counter = process.stdout.readline().split()
        return float(clock), float(counter)

    return look


def _one_way(world: World, chance: random.Random) -> tuple[str, list[str]]:
    """The links that these tests look at."""
    return "worker>redis", ["worker>redis"]


def _through_link(world: World) -> redis.Redis:
    """Redis, by the link of a worker."""
    settings = load_settings(world.topology.environment("worker"))
    return redis.Redis.from_url(settings.redis_url, socket_timeout=1)
