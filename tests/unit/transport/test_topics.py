"""Offsets that librdkafka gives without a leader are not believed: it says -1001, and no error, after a leader died."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from service.transport.errors import AccessDenied, BrokerUnavailable
from service.transport.topics import Topics


def answered(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


class FakeAdmin:
    """One topic with one partition. Answers list_offsets from a script, whose last entry repeats."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.metadata_asked = 0

    def list_topics(self, timeout: float) -> Any:
        self.metadata_asked += 1
        part = SimpleNamespace(leader=1)
        return SimpleNamespace(topics={"t": SimpleNamespace(partitions={0: part}, error=None)})

    def list_offsets(self, wanted: dict[Any, Any], request_timeout: float) -> dict[Any, Any]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return {part: answered(answer) for part in wanted}


def topics_of(admin: FakeAdmin) -> Topics:
    return Topics(lambda: admin, "h:1", 0.2, True)  # type: ignore[arg-type, return-value]  # a fake


def offset(value: int) -> Any:
    return SimpleNamespace(offset=value)


def failure(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


def test_an_offset_that_is_none_is_asked_for_again_with_new_metadata() -> None:
    admin = FakeAdmin(offset(-1001), failure(KafkaError.NOT_LEADER_FOR_PARTITION), offset(7))
    assert topics_of(admin).ends("t") == {0: 7}
    assert admin.metadata_asked == 3


def test_a_partition_that_stays_without_a_leader_is_an_error_not_a_number() -> None:
    with pytest.raises(BrokerUnavailable, match="no leader"):
        topics_of(FakeAdmin(offset(-1001))).ends("t")


def test_a_missing_acl_is_told_at_once_and_as_such() -> None:
    admin = FakeAdmin(failure(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(AccessDenied, match=r"while asking for offsets.*grant this user"):
        topics_of(admin).ends("t")


def test_a_client_is_forgotten_once_in_a_while_and_kept_for_late_answers() -> None:
    made: list[FakeAdmin] = []

    def make() -> FakeAdmin:
        made.append(FakeAdmin(offset(1)))
        return made[-1]

    topics = Topics(make, "h:1", 0.2, True)  # type: ignore[arg-type]  # a fake
    first = topics.admin
    # when nobody gets an answer, then the next question is another client's
    topics.forget_admin()
    second = topics.admin
    assert second is not first
    # and an outage does not make a client for every question
    topics.forget_admin()
    assert topics.admin is second
    assert len(made) == 2
