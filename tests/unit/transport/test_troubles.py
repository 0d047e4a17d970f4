"""Causes are remembered for the errors that follow, a person is warned once, and what keeps failing is slowed down."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError

from service.transport.troubleshooting.librdkafka_log import ClientLog
from service.transport.troubleshooting.troubles import Pace, Troubles

REFUSED = "h:1/bootstrap: Connect to ipv4#h:1 failed: Connection refused (after 0ms in state CONNECT)"
GONE = "h:1/1: Disconnected (after 600000ms in state UP)"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_cause_is_the_last_that_says_something_and_is_forgotten_when_all_is_well() -> None:
    clock = Clock()
    troubles = Troubles("h:1", clock)
    assert troubles.cause() is None
    troubles.heard(REFUSED, KafkaError._TRANSPORT)
    troubles.heard(GONE, 0)
    troubles.heard("1/1 brokers are down", KafkaError._ALL_BROKERS_DOWN)
    assert "Connection refused; nothing listens there" in str(troubles.cause())
    clock.now += 61
    assert troubles.cause() is None
    troubles.heard(GONE, 0)
    assert "Disconnected" in str(troubles.cause())
    troubles.fine()
    assert troubles.cause() is None


def test_a_person_is_warned_once_when_trouble_begins_and_told_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    troubles = Troubles("h:1", clock)
    # while a connection is opened, its error is the message
    troubles.heard(REFUSED, KafkaError._TRANSPORT)
    assert not caplog.records
    # later, and for as long as it lasts, a warning a minute; an idle connection that ends is no trouble
    troubles.fine()
    troubles.heard(GONE, 0)
    for _ in range(500):
        clock.now += 0.1
        troubles.heard(REFUSED, KafkaError._TRANSPORT)
    clock.now += 8
    troubles.fine()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["trouble with Kafka at h", "Kafka at h"]
    assert "works again after 58 s" in caplog.text


def test_a_first_failure_is_followed_at_once_and_a_second_soon_after_it_is_not() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.pause() == 0
    pace.failed()
    assert pace.pause() == 0
    clock.now += 1
    pace.failed()
    assert pace.pause() == 3
    clock.now += 2
    assert pace.pause() == 1
    clock.now += 60
    pace.failed()
    assert pace.pause() == 0


def test_librdkafkas_complaints_are_heard_and_not_shouted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    heard: list[str] = []
    log = ClientLog(lambda text, _code: heard.append(text))
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", "rdkafka#producer-1", REFUSED)
    log.log(logging.WARNING, "%s [%s] %s", "CONFWARN", "rdkafka#producer-1", "something else is odd")
    assert heard == [REFUSED]
    assert [record.getMessage() for record in caplog.records] == ["CONFWARN [rdkafka#producer-1] something else is odd"]
