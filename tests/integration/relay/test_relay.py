"""The relay on a real PostgreSQL and a real Kafka: nothing skipped, nothing out of order, whoever dies."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID, uuid4

import psycopg2
import pytest

from tests.integration.relay.conftest import Published, RelayUnderTest, Writer, wait_for

pytestmark = [pytest.mark.kafka]


@pytest.fixture
def published(relay: RelayUnderTest) -> Iterator[Published]:
    with closing(relay.reader()) as reader:
        yield Published(reader, relay.tenant)


@pytest.fixture
def writers(relay: RelayUnderTest) -> Iterator[tuple[Writer, Writer, Writer]]:
    three = (relay.writer(), relay.writer(), relay.writer())
    yield three
    for writer in three:
        writer.close()


def leads(relay: RelayUnderTest, number: int = 0) -> None:
    wait_for(lambda: relay.said("relay leads", number), "leadership")


def test_a_transaction_that_commits_late_is_not_skipped(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    # given a transaction that has its number, and a later one that commits first and is published
    late, early, _ = writers
    slow, quick = uuid4(), uuid4()
    late.write(slow, 1)
    early.write(quick, 1)
    early.commit()
    relay.start()
    assert published.wait_for(1) == {str(quick): [1]}
    # when the first commits at last
    late.commit()
    # then it is published too
    assert published.wait_for(2) == {str(quick): [1], str(slow): [1]}


def test_an_event_never_comes_before_its_predecessor(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    # given a transaction with a small number that waits for an exception held by one with a larger number,
    # while a third, between the two, stays open
    waits, stays, holds = writers
    exception = uuid4()
    waits.write(uuid4(), 1)
    stays.write(uuid4(), 1)
    holds.write(exception, 1)
    holds.commit()
    waits.write(exception, 2)
    waits.commit()
    # when the relay publishes what is committed, and later the rest
    relay.start()
    published.wait_for(3)
    stays.commit()
    # then the exception's events are in order
    assert published.wait_for(4)[str(exception)] == [1, 2]


def test_order_holds_for_many_interleaved_transactions(relay: RelayUnderTest, published: Published) -> None:
    # given writers that take numbers early, wait for one another's exceptions, and commit at odd moments
    exceptions = [uuid4() for _ in range(4)]
    written = dict.fromkeys(exceptions, 0)
    lock_space = random.Random(relay.name).randrange(1 << 40) * 8

    def work(seed: int) -> None:
        chance = random.Random(seed)
        with closing(relay.writer()) as writer:
            for _ in range(40):
                writer.write(uuid4(), 1)
                time.sleep(chance.random() * 0.01)
                for number in sorted(chance.sample(range(len(exceptions)), 2)):
                    writer.lock(lock_space + number)
                    exception = exceptions[number]
                    writer.write(exception, written[exception] + 1)
                    written[exception] += 1
                time.sleep(chance.random() * 0.02)
                writer.commit()

    relay.start()
    leads(relay)
    # when they write while the relay publishes
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then every exception's events appear once and in order
    positions = published.wait_for(6 * 40 * 3)
    assert {exception: positions[str(exception)] for exception in exceptions} == {
        exception: list(range(1, count + 1)) for exception, count in written.items()
    }
    assert published.copies == 6 * 40 * 3


def test_a_relay_killed_in_mid_window_loses_nothing(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    # given a large window of which the first records are on the topic
    events = writers[0].write_many(6_000)
    writers[0].commit()
    before = relay.cursor()
    process = relay.start()
    published.wait_for(1)
    # when the relay is killed
    process.kill()
    process.wait()
    assert relay.cursor() == before, "the window was complete before the kill: make it larger"
    # and another one is started
    relay.start()
    # then every event is there, the first copies in order
    positions = published.wait_for(events, seconds=60)
    assert len(positions) == 6_000
    assert all(order == list(range(1, 11)) for order in positions.values())


def test_one_leads_and_the_other_takes_over(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    # given a leader and a stand-by
    writer = writers[0]
    leader = relay.start()
    leads(relay)
    relay.start()
    wait_for(lambda: relay.said("relay stands by", 1), "standing by")
    # when events are written, then one of the two publishes them
    exception = uuid4()
    for position in range(1, 21):
        writer.write(exception, position)
        writer.commit()
    published.wait_for(20)
    assert published.copies == 20
    # when the leader is killed, then the stand-by goes on
    leader.kill()
    leader.wait()
    writer.write(exception, 21)
    writer.commit()
    assert published.wait_for(21)[str(exception)] == list(range(1, 22))
    assert relay.said("relay leads now", 1)


def test_a_lost_session_costs_leadership_and_nothing_else(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    # given a leading relay
    relay.start()
    leads(relay)
    # when PostgreSQL ends its session
    login = psycopg2.connect(relay.settings.database_url)
    with closing(login), login.cursor() as driver:
        driver.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND objid = (hashtext(%s)::bigint & 4294967295)::oid",
            (relay.name,),
        )
        assert driver.fetchall() == [(True,)]
    # then it comes back and publishes
    exception = uuid4()
    writers[0].write(exception, 1)
    writers[0].commit()
    assert published.wait_for(1) == {str(exception): [1]}


def test_a_dead_letter_has_a_record_of_its_own(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    exception = uuid4()
    fault = {"errorClass": "ToolUnavailable", "message": "tool 'settle' answered 503", "attempts": 3}
    writers[0].write(exception, 1)
    writers[0].write(exception, 2, "DeadLettered", fault)
    writers[0].commit()
    relay.start()
    published.wait_for(2)
    with closing(relay.reader(relay.dlq_topic)) as dead_letters:
        records = dead_letters.wait_for(lambda found: any(r.headers["tenant"] == relay.tenant for r in found))
        (record,) = [r for r in records if r.headers["tenant"] == relay.tenant]
    assert record.key == str(exception)
    assert (record.headers["stage"], record.headers["errorClass"], record.headers["attempts"]) == (
        "tool",
        "ToolUnavailable",
        "3",
    )
    assert record.value["message"] == fault["message"]


def test_status_tells_how_far_behind(relay: RelayUnderTest, writers: tuple[Writer, Writer, Writer]) -> None:
    # given events that nobody publishes
    for position in range(1, 4):
        writers[0].write(UUID(int=uuid4().int), position)
    writers[0].commit()
    status = relay.status()
    assert status["leader"] is False
    assert int(str(status["unpublished"])) >= 3
    assert float(str(status["secondsBehind"])) > 0
    # when a relay has published them
    relay.start()
    # then nothing is open
    wait_for(lambda: relay.status()["unpublished"] == 0, "being caught up")
    assert relay.status()["leader"] is True


def test_it_waits_for_kafka_and_ends_when_told_to(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    exception = uuid4()
    writers[0].write(exception, 1)
    writers[0].commit()
    # given a Kafka that is away
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        process = relay.start(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{closed.getsockname()[1]}")
        wait_for(lambda: relay.said("relay waits"), "noticing that Kafka is away")
        # then it keeps trying and says what to look at
        assert process.poll() is None
        assert relay.said("check KAFKA_BOOTSTRAP_SERVERS")
        # and ends within seconds when told to
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    # when a relay reaches Kafka, then nothing was lost
    relay.start()
    assert published.wait_for(1) == {str(exception): [1]}


def test_the_relay_keeps_up_with_a_load(
    relay: RelayUnderTest, published: Published, writers: tuple[Writer, Writer, Writer]
) -> None:
    # given a leading relay and a load of some 10,000 events
    relay.start()
    leads(relay)
    writer, total = writers[0], 0
    for _ in range(20):
        total += writer.write_many(50)
        writer.commit()
    # then the last of them is published soon after
    published.wait_for(total, 20)
