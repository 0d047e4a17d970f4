"""Questions about groups while their coordinators move between brokers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException

from service.transport.errors import BrokerUnavailable
from service.transport.inspection import survey as survey_module
from service.transport.inspection.survey import Survey


class Admin:
    """A client that gets one answer, whatever it is asked."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        future: Future[Any] = Future()
        if isinstance(self._answer, Exception):
            future.set_exception(self._answer)
        elif self._answer is not None:
            future.set_result(self._answer)
        return dict.fromkeys(groups, future)


class Topics:
    """The process's clients: the first one until it is forgotten, then the second."""

    def __init__(self, *admins: Admin) -> None:
        self._admins = list(admins)

    @property
    def admin(self) -> Admin:
        return self._admins[0]

    def forget_admin(self) -> None:
        self._admins.pop(0)

    def metadata(self) -> None:
        """Nobody looks at it."""


@pytest.fixture
def surveying(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Survey]:
    monkeypatch.setattr(survey_module, "_PATIENCE", 0.0)
    # A survey waits a second longer than that: here it shall be a hundredth of one.
    options = SimpleNamespace(bootstrap_servers="broker:9092", request_timeout=-0.99)
    return lambda *admins: Survey(cast(Any, SimpleNamespace(topics=Topics(*admins), options=options)))


def refusal(code: int) -> KafkaException:
    return KafkaException(KafkaError(code, "ConsumerGroupDescribe: "))


def test_a_client_that_asks_a_coordinator_of_the_past_is_replaced(surveying: Callable[..., Survey]) -> None:
    # given a client that is told, by a broker that was a group's coordinator, that it is none
    stable = SimpleNamespace(members=[], state=ConsumerGroupState.STABLE)
    survey = surveying(Admin(refusal(KafkaError.NOT_COORDINATOR)), Admin(stable))
    # when it is asked, then it says which error that was
    with pytest.raises(BrokerUnavailable, match=r"ConsumerGroupDescribe \(NOT_COORDINATOR\)"):
        survey.groups(["workers"])
    # and the next question is answered
    assert survey.groups(["workers"])["workers"].state == "stable"


def test_a_client_that_gets_no_answer_is_replaced(surveying: Callable[..., Survey]) -> None:
    # given a client whose question stays open, as after all brokers were away
    stable = SimpleNamespace(members=[], state=ConsumerGroupState.STABLE)
    survey = surveying(Admin(None), Admin(stable))
    with pytest.raises(BrokerUnavailable, match="no answer"):
        survey.groups(["workers"])
    # then the next one asks anew
    assert survey.groups(["workers"])["workers"].state == "stable"


def test_a_client_that_is_told_of_an_outage_is_kept(surveying: Callable[..., Survey]) -> None:
    survey = surveying(Admin(refusal(KafkaError._TIMED_OUT)))
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            survey.groups(["workers"])
