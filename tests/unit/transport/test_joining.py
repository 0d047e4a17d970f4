"""A broker that does not have the chosen group protocol is noticed, one that is slow or away is not suspected."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from service.transport.cluster import Cluster
from service.transport.consuming import joining
from service.transport.consuming.joining import JoinWatch
from service.transport.errors import NoSuchProtocol
from service.transport.options import Options

NEW = {"group.protocol": "consumer"}


class Coordinator:
    """An admin client that describes one group."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        self.asked += 1
        future: Future[Any] = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        else:
            future.set_result(SimpleNamespace(members=self.answer))
        return dict.fromkeys(groups, future)


def watch(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch, config: dict[str, str] = NEW) -> JoinWatch:
    monkeypatch.setattr(joining, "_JOIN_WITHIN", 0.0)
    cluster = Cluster(Options(consumer_config=config))
    cluster.topics._admin = coordinator  # type: ignore[assignment]  # a stand-in
    return JoinWatch(cluster, "group")


def test_a_group_without_members_that_was_not_joined_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoSuchProtocol, match=r"group\.protocol"):
        watch(Coordinator([]), monkeypatch).look(joined=False)
    unknown = KafkaException(KafkaError(KafkaError.GROUP_ID_NOT_FOUND))
    with pytest.raises(NoSuchProtocol):
        watch(Coordinator(unknown), monkeypatch).look(joined=False)


def test_a_member_that_waits_for_its_first_partitions_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    watch(Coordinator(["somebody"]), monkeypatch).look(joined=False)


def test_a_coordinator_that_is_away_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    away = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    watch(Coordinator(away), monkeypatch).look(joined=False)


def test_nobody_is_asked_once_joined_or_with_the_classic_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    coordinator = Coordinator([])
    watch(coordinator, monkeypatch).look(joined=True)
    watch(coordinator, monkeypatch, {}).look(joined=False)
    assert coordinator.asked == 0
