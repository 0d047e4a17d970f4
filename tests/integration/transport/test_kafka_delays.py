"""Delayed delivery on a real broker: on time, over every hop, and over a kill -9 of whoever moves the messages."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import OffsetSpec
from kombu import Connection, Message, Producer, Queue

from service.transport.cluster import cluster_of
from service.transport.delays import forwarding, trimming
from service.transport.options import Options

from .conftest import PROJECT, Corner, Entry, Fleet, new_corner, until
from .consuming import Received, publish

pytestmark = pytest.mark.kafka

JOBS = Queue("jobs")
SHORT = {"delay_levels": (0.5, 1, 2, 4), "delay_horizon": 1.0}
EARLIEST_ALLOWED = Options().delay_threshold
SLACK = 10.0
"""Seconds of lateness that count as on time: a test machine may stand still for a while, `make bench` measures."""

MOVER = """
import json, logging, sys
from kombu import Connection, Consumer, Queue
logging.basicConfig(level=logging.INFO)
servers, options = sys.argv[1], json.loads(sys.argv[2])
with Connection(f"kafka://{servers}//", transport="service.transport:Transport", transport_options=options) as c:
    Consumer(c.channel(), [Queue("idle")], on_message=lambda message: message.ack()).consume()
    while True:
        try: c.drain_events(timeout=1)
        except TimeoutError: pass
"""


class Movers:
    """Processes that move delayed messages and may be killed."""

    def __init__(self, corner: Corner, folder: Path) -> None:
        self.corner = corner
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start a process that keeps its place in the group while it is restarted."""
        options = {**self.corner.options, "consumer_config": {"group.instance.id": name}}
        command = [sys.executable, "-c", MOVER, self.corner.servers, json.dumps(options)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log)

    def ready(self, name: str, times: int = 1) -> None:
        log = self.folder / f"{name}.log"
        until(lambda: log.read_text().count("_delays: assigned") >= times, f"{name} moves delayed messages", 30)

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait(10)


@pytest.fixture
def movers(corner: Corner, tmp_path: Path) -> Iterator[Movers]:
    movers = Movers(corner, tmp_path)
    yield movers
    movers.stop()


class Arrivals(Received):
    """Messages whose body is ``[number, due]``, and when they came."""

    def __init__(self, connection: Connection, queue: Queue = JOBS) -> None:
        super().__init__(connection, queue)
        self.late: list[float] = []
        self.consumer.on_message = self.note
        if connection.transport.options.delays:
            until(self.this_process_moves, "this process moves delayed messages", 30)

    def this_process_moves(self) -> bool:
        mover = self.connection.transport.session._groups._mover
        return bool(mover is not None and mover.joined)

    def note(self, message: Message) -> None:
        self.late.append(time.time() - message.payload[1])
        self.messages.append(message)
        message.ack()

    def _drained(self, count: int) -> bool:
        """One message at a time, but without a pause between them: what counts here is when they come."""
        began = time.monotonic()
        while len(self.messages) < count and time.monotonic() < began + 0.1:
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=0.02)
        return len(self.messages) >= count

    @property
    def numbers(self) -> list[int]:
        return [message.payload[0] for message in self.messages]

    def are_on_time(self) -> None:
        assert min(self.late) >= -EARLIEST_ALLOWED
        assert sorted(self.late)[int(len(self.late) * 0.99)] < SLACK, sorted(self.late)[-10:]


def schedule(connection: Connection, delays: list[float], queue: Queue = JOBS, **options: Any) -> None:
    """Publish one message for each delay, in one batch."""
    queue(connection.default_channel).declare()
    producer = Producer(connection.default_channel)
    with producer.batch(max_size=500):
        for number, delay in enumerate(delays):
            due = time.time() + delay
            eta = datetime.fromtimestamp(due, UTC).isoformat()
            producer.publish([number, due], exchange="", routing_key=queue.name, headers={"eta": eta}, **options)


def test_hundreds_arrive_on_time_and_none_is_lost_over_a_kill_9_of_both_movers(corner: Corner, movers: Movers) -> None:
    # given two processes that move what is delayed, and 600 messages due within 1 to 9 s, in no order
    for name in ("one", "two"):
        movers.start(name)
    for name in ("one", "two"):
        movers.ready(name)
    with corner.connect() as sender, corner.connect(delays=False) as receiver:
        arrivals = Arrivals(receiver)
        arrivals.quiet(0.1)
        schedule(sender, [1 + (number * 7919 % 600) / 75 for number in range(600)])
        # when each of the movers is killed amid its work, and comes back
        for name, count in (("one", 100), ("two", 200)):
            arrivals.wait_for(count)
            movers.kill(name)
            movers.start(name)
        arrivals.wait_for(600, 40)
        until(lambda: arrivals.take() and len(set(arrivals.numbers)) == 600, "each of the 600", 20)
        # then every message arrived, none early, and hardly any twice
        assert min(arrivals.late) >= -EARLIEST_ALLOWED
        assert sum(count - 1 for count in Counter(arrivals.numbers).values()) <= 60


def test_messages_hop_from_level_to_level_and_arrive_on_time(corner: Corner) -> None:
    corner.options |= SHORT
    with corner.connect() as connection:
        arrivals = Arrivals(connection)
        arrivals.quiet(0.1)
        schedule(connection, [1 + number / 75 for number in range(300)])
        arrivals.wait_for(300, 40)
        arrivals.quiet()
        assert sorted(arrivals.numbers) == list(range(300))
        arrivals.are_on_time()
        counted = cluster_of(connection.transport.options).counters.snapshot()
        assert counted["delays_delivered"] == 300


def test_what_waits_on_a_level_that_is_not_configured_any_more_arrives(corner: Corner) -> None:
    # given messages of a release with other levels
    with corner.connect(delay_levels=(2.5,), delay_horizon=1.0) as older:
        schedule(older, [3.6, 3.7])
    # when the next release starts
    with corner.connect(delay_levels=(10, 60)) as newer:
        arrivals = Arrivals(newer)
        arrivals.wait_for(2)
        arrivals.are_on_time()


def test_what_is_due_in_a_week_waits_in_the_cluster_alone(corner: Corner) -> None:
    with corner.connect() as connection:
        arrivals = Arrivals(connection)
        arrivals.quiet(0.1)
        schedule(connection, [7 * 86400] * 2000)
        arrivals.quiet(1.5)
        # then all of it lies on one level, and this process holds next to nothing
        cluster = cluster_of(connection.transport.options)
        assert sum(cluster.topics.ends(cluster.names.level(604795)).values()) == 2000
        assert cluster.counters.levels()["delayed_held_messages"] <= 500


@pytest.mark.parametrize("delay", [-3600.0, 0.0])
def test_what_is_due_already_is_delivered_at_once(corner: Corner, delay: float) -> None:
    with corner.connect() as connection:
        arrivals = Arrivals(connection)
        arrivals.quiet(0.1)
        schedule(connection, [delay])
        arrivals.wait_for(1)
        assert "delayed" not in cluster_of(connection.transport.options).counters.snapshot()


def test_without_delays_a_message_goes_to_its_queue_whatever_it_asks_for(corner: Corner) -> None:
    corner.options["delays"] = False
    with corner.connect() as connection:
        schedule(connection, [3600.0])
        Received(connection, JOBS).wait_for(1)
        assert not [topic for topic in corner.topics() if "_soon" in topic or "_wait" in topic]


def test_what_is_too_large_for_its_queue_is_kept_aside_and_holds_up_nothing(corner: Corner) -> None:
    # given a queue that takes small messages only, and a large one that waits for it among small ones
    with corner.connect(topic_config={"max.message.bytes": "2000"}) as connection:
        arrivals = Arrivals(connection)
        arrivals.quiet(0.1)
        schedule(connection, [1.0, 1.0])
        eta = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        publish(connection, JOBS, "x" * 5000, headers={"eta": eta})
        # when they are due, then the small ones arrive and the large one lies on the dead-letter topic
        arrivals.wait_for(2)
        cluster = cluster_of(connection.transport.options)
        until(lambda: cluster.counters.snapshot().get("dead_lettered") == 1, "the large one is kept aside")
        assert sum(cluster.topics.ends(cluster.options.poison_topic).values()) == 1


def test_what_waits_for_a_queue_that_was_deleted_is_kept_aside(corner: Corner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_GIVE_UP", 1)
    with corner.connect() as connection:
        arrivals = Arrivals(connection, Queue("other"))
        arrivals.quiet(0.1)
        schedule(connection, [1.0])
        JOBS(connection.default_channel).delete()
        schedule(connection, [2.0, 4.0], Queue("other"))
        arrivals.wait_for(2, 30)
        cluster = cluster_of(connection.transport.options)
        until(lambda: cluster.counters.snapshot().get("dead_lettered") == 1, "it is kept aside", 40)


def test_what_was_moved_does_not_come_back_when_the_cluster_has_forgotten_the_commits(corner: Corner) -> None:
    """A broker forgets the commits of a group that had no members for a week."""
    with corner.connect() as connection:
        arrivals = Arrivals(connection)
        arrivals.quiet(0.1)
        schedule(connection, [1.0 + number / 20 for number in range(20)])
        arrivals.wait_for(20)
    # when the last mover has ended, and the commits of the movers are forgotten
    cluster = cluster_of(corner.typed)
    soon = cluster.route.soon
    assert sum(cluster.topics.ends(soon, OffsetSpec.earliest()).values()) == 20
    forgotten = cluster.topics.admin.delete_consumer_groups([cluster.names.mover_group()], request_timeout=10)
    for answer in forgotten.values():
        answer.result(15)
    # then the next one does not move them again
    with corner.connect() as connection:
        again = Arrivals(connection)
        schedule(connection, [1.0])
        again.wait_for(1)
        again.quiet(1.0)


def test_what_was_moved_is_deleted_while_the_mover_runs(corner: Corner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "_EVERY", 1.0)
    with corner.connect() as connection:
        arrivals = Arrivals(connection)
        schedule(connection, [0.5] * 10)
        arrivals.wait_for(10)
        topics, soon = cluster_of(connection.transport.options).topics, cluster_of(corner.typed).route.soon
        until(lambda: sum(topics.ends(soon, OffsetSpec.earliest()).values()) == 10, "moved messages are deleted", 30)


@pytest.fixture(scope="module")
def worker(servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One Celery worker, for tests that do no harm."""
    fleet = Fleet(new_corner(servers), tmp_path_factory.mktemp("worker"))
    fleet.start("only", "-Q", "plain")
    fleet.ready("only")
    yield fleet
    fleet.stop()
    fleet.corner.remove()


def on_time(fleet: Fleet, first: float) -> list[Entry]:
    """What ran of the tasks that say they were due at ``first`` or up to a minute later."""
    return [entry for entry in fleet.journal("on_time") if 0 <= entry["due"] - first < 60]


def test_a_delayed_task_that_is_revoked_never_runs(worker: Fleet) -> None:
    # given two tasks for the near future, of which the first is revoked
    first = time.time() + 3
    worker.run(
        f"revoked = on_time.apply_async(({first!r},), countdown=3)\n"
        f"on_time.apply_async(({first + 2!r},), countdown=5)\n"
        "revoked.revoke()"
    )
    # when the second has run, then the first has not, and the worker says why
    until(lambda: on_time(worker, first), "the task that was not revoked")
    assert [entry["due"] for entry in on_time(worker, first)] == [first + 2]
    until(lambda: "Discarding revoked task" in worker.log("only"), "the worker discards the revoked task")


def test_a_time_is_understood_in_every_way_celery_lets_one_say_it(worker: Fleet) -> None:
    # given one moment, two seconds ahead, as UTC, in a zone far away, and without a zone (which means UTC); one in the
    # past, one now, one in ten years
    moment = datetime.now(UTC) + timedelta(seconds=2)
    ways = [moment, moment.astimezone(timezone(timedelta(hours=9))), moment.replace(tzinfo=None)]
    lines = [
        f"on_time.apply_async(({moment.timestamp()!r},), eta=datetime.fromisoformat({way.isoformat()!r}))"
        for way in ways
    ]
    lines += ["on_time.apply_async((1.0,), eta=datetime(1971, 1, 1, tzinfo=timezone.utc))"]
    lines += ["on_time.apply_async((2.0,), countdown=0)", "on_time.apply_async((3.0,), countdown=10 * 365 * 86400)"]
    worker.run("from datetime import datetime, timezone\n" + "\n".join(lines))
    # then the first three run at that moment, the next two at once, and the last is not held by the worker
    until(lambda: len(on_time(worker, moment.timestamp())) == 3, "three tasks at their moment")
    assert all(-0.01 <= entry["late"] < SLACK for entry in on_time(worker, moment.timestamp()))
    until(lambda: len(on_time(worker, 0.5)) == 2, "the two that are due at once")
    assert sorted(entry["due"] for entry in on_time(worker, 0.5)) == [1.0, 2.0]
    assert "'eta'" not in worker.run("print(app.control.inspect(timeout=20, limit=1).scheduled())")


def test_a_gone_partition_of_the_wheel_is_not_needed(corner: Corner) -> None:
    """The topic may have been made with fewer partitions, by an older release or by hand."""
    cluster = cluster_of(corner.typed)
    cluster.topics.ensure([cluster.route.soon], 3, -1, {"retention.ms": "-1"})
    with corner.connect() as connection:
        arrivals = Arrivals(connection)
        schedule(connection, [0.5 + number / 40 for number in range(60)])
        arrivals.wait_for(60)
        arrivals.quiet()
        arrivals.are_on_time()
        assert len(cluster.topics.ends(cluster.route.soon)) == 3
