"""Messages and records: what goes in comes out, and a person can read what lies on the topic."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transport.errors import Undecodable
from service.transport.records import Arrival, Record, decode, encode

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def message(body: Any = b"[]", headers: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    return {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers or {},
        "properties": properties,
    }


def arrived(record: Record) -> Arrival:
    return Arrival("topic", 0, 7, record.key, record.value, record.headers)


@given(headers=st.dictionaries(st.text(min_size=1, max_size=8), json_values, max_size=5))
def test_every_header_comes_back_with_its_type(headers: dict[str, Any]) -> None:
    record = encode(message(headers=headers), "exceptions", "triage.7", b"triage.7")
    assert decode(arrived(record), "1", False)["headers"] == headers


@given(body=st.binary() | st.text())
def test_the_body_comes_back_as_it_was(body: bytes | str) -> None:
    raw = decode(arrived(encode(message(body), "", "queue", None)), "1", False)
    assert raw["body"] == body


def test_the_record_can_be_read_without_this_library() -> None:
    # given a task message
    record = encode(message(b'{"x": 1}', {"task": "tasks.triage", "retries": 2}), "exceptions", "triage.7", None)
    # then body and headers lie on the topic as they are
    headers = dict(record.headers)
    assert record.value == b'{"x": 1}'
    assert headers["task"] == b"tasks.triage"
    assert headers["retries"] == b"2"


def test_the_consumer_learns_where_a_message_came_from_and_if_it_was_seen_before() -> None:
    raw = decode(arrived(encode(message(correlation_id="c1"), "exceptions", "triage.7", None)), "42", True)
    assert raw["properties"]["delivery_info"] == {
        "exchange": "exceptions",
        "routing_key": "triage.7",
        "redelivered": True,
        "topic": "topic",
        "partition": 0,
        "offset": 7,
    }
    assert raw["properties"]["delivery_tag"] == "42"
    assert raw["properties"]["correlation_id"] == "c1"


def test_rich_values_keep_their_type() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    raw = decode(arrived(encode(message(headers={"seen": moment}), "", "q", None)), "1", False)
    assert raw["headers"]["seen"] == moment


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("kombu-version", b"9")],
        [("kombu-version", b"1")],
        [("kombu-version", b"1"), ("kombu-properties", b"{broken")],
        [("kombu-version", b"1"), ("kombu-properties", b"[1]")],
        [("kombu-version", b"1"), ("kombu-properties", b"{}"), ("text", b"\xff\xfe")],
        [("kombu-version", b"1"), ("kombu-properties", None)],
    ],
)
def test_a_record_of_someone_else_is_refused_not_guessed(headers: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(Undecodable):
        decode(Arrival("topic", 0, 0, None, b"\x00\x01", headers), "1", False)


def test_a_property_that_has_no_json_form_is_left_out_as_amqp_leaves_out_what_it_does_not_know() -> None:
    record = encode(message(signal=object(), reply_to="answers", priority=3), "", "queue", None)

    properties = decode(arrived(record), "1", False)["properties"]

    assert (properties["reply_to"], properties["priority"]) == ("answers", 3)
    assert "signal" not in properties


def test_a_property_of_amqp_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError):
        encode(message(correlation_id=object()), "", "queue", None)
