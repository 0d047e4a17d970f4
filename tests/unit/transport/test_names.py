"""Queue names and topic names: reversible, and no two queues meet on one topic."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transport.errors import BadName
from service.transport.names import Names

short = st.text(min_size=1, max_size=12)
tricky = st.text(alphabet="._-a5fx2e/", min_size=1, max_size=10)


def test_ordinary_names_stay_as_they_are() -> None:
    assert [Names().queue(name) for name in ("triage", "exceptions.dlq", "my-queue")] == [
        "triage",
        "exceptions.dlq",
        "my-queue",
    ]


@given(queue=short)
def test_every_name_has_a_legal_topic_and_comes_back(queue: str) -> None:
    names = Names("app-")
    topic = names.queue(queue)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic)
    assert names.queue_of(topic) == queue


@given(one=tricky, other=tricky)
def test_two_queues_never_meet_not_even_where_kafka_takes_a_dot_for_an_underscore(one: str, other: str) -> None:
    names = Names()
    same = names.queue(one).replace(".", "_") == names.queue(other).replace(".", "_")
    assert same == (one == other)


@given(queue=tricky, exchange=tricky)
def test_no_queue_reaches_a_topic_the_transport_keeps_for_itself(queue: str, exchange: str) -> None:
    names = Names()
    own = {names.broadcast(exchange), names.broadcast(""), names.soon(), names.level(10), names.bindings(), "_poison"}
    assert names.queue(queue).replace(".", "_") not in {topic.replace(".", "_") for topic in own}
    assert all(names.queue_of(topic) is None for topic in own)


def test_a_name_too_long_for_kafka_is_refused_with_its_length() -> None:
    with pytest.raises(BadName, match="Kafka allows 249"):
        Names().queue("q" * 250)


def test_a_prefix_kafka_does_not_allow_is_refused() -> None:
    with pytest.raises(BadName, match="topic_prefix"):
        Names("a/b")
