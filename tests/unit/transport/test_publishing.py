"""Publishing: it returns when the cluster has confirmed, and says what became of a message otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from service.transport.counters import Counters
from service.transport.errors import PublishFailed, PublishRefused, PublishTimedOut
from service.transport.publishing import Publisher
from service.transport.records import Record

RECORD = Record(None, b"body", [])


class FakeProducer:
    """Confirms when polled; what it answers is in ``answers`` (None: stored)."""

    def __init__(self, answers: list[KafkaError | None] | None = None, silent: bool = False) -> None:
        self.answers = answers or []
        self.silent = silent
        self.waiting: list[Callable[..., Any]] = []
        self.full_for = 0
        self.lock = threading.Lock()
        self.polled_by: set[int] = set()

    def produce(self, topic: str, *, on_delivery: Callable[..., Any], **_: Any) -> None:
        if self.full_for:
            self.full_for -= 1
            raise BufferError
        if topic == "unknown":
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        with self.lock:
            self.waiting.append(on_delivery)

    def purge(self) -> None:
        """A real one now answers what is left with an error."""

    def __len__(self) -> int:
        return len(self.waiting)

    def poll(self, _timeout: float) -> None:
        self.polled_by.add(threading.get_ident())
        with self.lock:
            due, self.waiting = self.waiting, []
        for report in due:
            if not self.silent:
                report(self.answers.pop(0) if self.answers else None, None)


def publisher_of(*producers: FakeProducer, timeout: float = 5.0) -> tuple[Publisher, Counters]:
    made, counters = iter(producers), Counters()
    return Publisher(lambda: next(made), timeout, counters, lambda topic: None), counters  # type: ignore[arg-type, return-value]  # a fake


def test_a_publish_returns_when_it_is_confirmed() -> None:
    publisher, counters = publisher_of(FakeProducer())
    publisher.publish("triage", RECORD)
    assert counters.snapshot()["published"] == 1


def test_many_messages_are_confirmed_by_one_wait() -> None:
    publisher, counters = publisher_of(FakeProducer())
    publisher.wait([publisher.send("triage", RECORD) for _ in range(100)])
    assert counters.snapshot()["published"] == 100


def test_a_message_that_was_not_stored_is_an_error() -> None:
    publisher, _ = publisher_of(FakeProducer([KafkaError(KafkaError.NOT_ENOUGH_REPLICAS)]))
    with pytest.raises(PublishFailed, match="triage"):
        publisher.publish("triage", RECORD)


def test_a_message_the_cluster_will_never_take_is_another_error() -> None:
    publisher, _ = publisher_of(FakeProducer([KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)]))
    with pytest.raises(PublishRefused):
        publisher.publish("triage", RECORD)


def test_no_confirmation_in_time_is_told_as_unknown_not_as_lost() -> None:
    publisher, _ = publisher_of(FakeProducer(silent=True))
    with pytest.raises(PublishTimedOut, match="unknown"):
        publisher.publish("triage", RECORD, timeout=0.05)
    late, _ = publisher_of(FakeProducer([KafkaError(KafkaError._MSG_TIMED_OUT)]))
    with pytest.raises(PublishTimedOut, match="unknown"):
        late.publish("triage", RECORD)


def test_what_is_not_confirmed_in_time_is_explained_also_where_librdkafka_has_not_reported_it_yet() -> None:
    # given a process that was kept waiting itself, so that the time is over before the report is there
    told: list[tuple[str, int]] = []

    def why(topic: str, error: KafkaError) -> str:
        told.append((topic, error.code()))
        return "the broker hangs; check it"

    publisher = Publisher(lambda: FakeProducer(silent=True), 5.0, Counters(), lambda topic: None, why)  # type: ignore[arg-type, return-value]  # a fake
    with pytest.raises(PublishTimedOut, match="unknown if it was stored: the broker hangs; check it"):
        publisher.publish("triage", RECORD, timeout=0.05)
    assert told == [("triage", KafkaError._MSG_TIMED_OUT)]


def test_a_full_send_buffer_is_waited_for() -> None:
    producer = FakeProducer()
    producer.full_for = 3
    publisher, counters = publisher_of(producer)
    publisher.publish("triage", RECORD)
    assert counters.snapshot()["published"] == 1


def test_a_topic_that_stays_unknown_is_an_error_and_is_looked_up_anew() -> None:
    forgotten: list[str] = []
    publisher = Publisher(FakeProducer, 5.0, Counters(), forgotten.append)  # type: ignore[arg-type]  # a fake
    with pytest.raises(PublishFailed, match="unknown"):
        publisher.publish("unknown", RECORD, timeout=0.3)
    assert "unknown" in forgotten


def test_a_broker_that_does_not_know_its_topics_yet_gets_the_message_again() -> None:
    publisher, counters = publisher_of(FakeProducer([KafkaError(KafkaError._UNKNOWN_TOPIC)]))
    publisher.publish("triage", RECORD)
    assert counters.snapshot()["published"] == 1


def test_after_a_fatal_error_the_next_message_has_a_new_producer() -> None:
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", True)
    publisher, counters = publisher_of(FakeProducer([fatal]), FakeProducer())
    with pytest.raises(PublishFailed):
        publisher.publish("triage", RECORD)
    publisher.publish("triage", RECORD)
    assert counters.snapshot() == {"publish_failed": 1, "producers_replaced": 1, "published": 1}


def test_threads_share_one_producer_and_each_gets_its_own_confirmation() -> None:
    publisher, counters = publisher_of(FakeProducer())
    threads = [threading.Thread(target=lambda: [publisher.publish("t", RECORD) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert counters.snapshot()["published"] == 400


def test_answers_of_a_replaced_producer_are_still_heard_and_then_it_is_let_go() -> None:
    # given a producer with two messages out, the first of which meets a fatal error
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", True)
    broken, fresh, gone = FakeProducer(), FakeProducer(), list[Any]()
    made, counters = iter([broken, fresh]), Counters()
    publisher = Publisher(lambda: next(made), 5.0, counters, lambda topic: None, on_replaced=gone.append)  # type: ignore[arg-type, return-value]  # fakes
    first, second = publisher.send("t", RECORD), publisher.send("t", RECORD)
    broken.waiting.pop(0)(fatal, None)
    with pytest.raises(PublishFailed, match="perhaps not stored"):
        publisher.wait([first])
    # when the second is waited for, and the old producer answers late
    publisher.wait([second])
    publisher.serve()
    # then it was not waited for in vain, the next message has a new producer, and the old one is let go
    publisher.publish("t", RECORD)
    assert counters.snapshot()["published"] == 2
    assert gone == [broken]


def test_late_failures_of_an_old_producer_do_not_replace_the_new_one() -> None:
    fatal = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", True)
    publisher, counters = publisher_of(FakeProducer([fatal, fatal, fatal]), FakeProducer())
    deliveries = [publisher.send("t", RECORD) for _ in range(3)]
    for delivery in deliveries:
        with pytest.raises(PublishFailed):
            publisher.wait([delivery])
    publisher.publish("t", RECORD)
    assert counters.snapshot()["producers_replaced"] == 1


def test_a_thread_that_a_time_limit_interrupted_as_it_began_to_serve_hangs_nobody() -> None:
    publisher, _ = publisher_of(FakeProducer())
    assert publisher._take_lead()
    publisher.publish("t", RECORD, timeout=1.0)


def test_a_cause_is_part_of_the_error_and_too_large_a_message_tells_its_size() -> None:
    answers = [KafkaError(KafkaError._MSG_TIMED_OUT), KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)]
    producer = FakeProducer(answers)  # type: ignore[arg-type]  # every answer is an error
    publisher = Publisher(
        lambda: producer,  # type: ignore[arg-type, return-value]  # a fake
        5.0,
        Counters(),
        lambda topic: None,
        why=lambda topic, error: f"why of {topic}",
    )
    with pytest.raises(PublishTimedOut, match="unknown if it was stored: why of t"):
        publisher.publish("t", RECORD)
    with pytest.raises(PublishRefused, match="4 bytes: why of t"):
        publisher.publish("t", RECORD)
