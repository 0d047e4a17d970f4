"""A queue that was given more partitions is told from one of which this process was given only some at first."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from service.transport.consuming.growth import Growth
from service.transport.counters import Counters


class TopicsByAnswer:
    """Topics as each question about them finds them: {topic: partitions}."""

    def __init__(self, *answers: dict[str, int]) -> None:
        self._answers = list(answers)

    def metadata(self) -> Any:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        found = {topic: SimpleNamespace(partitions=dict.fromkeys(range(count))) for topic, count in answer.items()}
        return SimpleNamespace(topics=found)


def growth_over(*answers: dict[str, int]) -> Growth:
    cluster: Any = SimpleNamespace(topics=TopicsByAnswer(*answers), counters=Counters())
    growth = Growth(cluster, ["jobs"])
    growth.begin()
    return growth


@pytest.mark.parametrize("at_first", [{"jobs": 2}, {}], ids=["known", "not known yet to the broker that was asked"])
def test_a_second_partition_of_two_is_no_growth(at_first: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
    # given a queue of two partitions
    growth = growth_over(at_first, {"jobs": 2})
    # when this process is given one, and the other when another process leaves
    with caplog.at_level(logging.WARNING):
        growth.assigned([TopicPartition("jobs", 0)])
        growth.assigned([TopicPartition("jobs", 1)])
    # then nothing is said of growth
    assert "has grown" not in caplog.text


def test_a_partition_beyond_those_that_there_were_is_growth(caplog: pytest.LogCaptureFixture) -> None:
    growth = growth_over({"jobs": 2})
    with caplog.at_level(logging.WARNING):
        growth.assigned([TopicPartition("jobs", 2)])
    assert "topic jobs has grown from 2 to 3 partitions" in caplog.text
