"""When the dead-letter topic, the event log and the table say the same, and when they do not."""

from __future__ import annotations

import orjson
import pytest

from service.relay.agreement import (
    EXAMPLES_KEPT,
    Difference,
    Report,
    Row,
    digest,
    expected_digest,
    read_record,
    row_difference,
)
from service.relay.cloudevents import LoggedEvent, dead_letter_record

EXCEPTION = "01a205fe-b64c-7364-9d0e-26506e68e860"
DATA = {
    "errorClass": "ToolRefused", "errorKind": "permanent", "message": "no", "attempts": 2, "tool": "settle",
    "signature": "0f1e2d3c4b5a6978", "deadLetterId": "01a205fe-b64c-7365-8d0e-26506e68e861",
}  # fmt: skip
EVENT = LoggedEvent(
    EXCEPTION, 5, 1_900_000_000_000_000, "2030-03-17T17:46:40.000000Z", "ACME", "1", 4, "2", "DeadLettered",
    "0" * 31 + "1", None, orjson.dumps(DATA).decode(),
)  # fmt: skip
ROW = Row(5, 4, "ACME", "ToolRefused", "no", "0f1e2d3c4b5a6978", 2)


def test_the_record_that_the_relay_makes_is_the_expected_one() -> None:
    record = dead_letter_record(EVENT)
    found = read_record(record.key.encode(), record.value, 3, 17)
    assert found is not None
    assert (found.exception_id, found.position, found.partition, found.offset) == (EXCEPTION, 5, 3, 17)
    assert found.digest == expected_digest(EVENT)


@pytest.mark.parametrize("member", ["message", "errorClass", "attempts", "signature", "tenantId", "deadLetteredAt"])
def test_a_record_that_says_something_else_is_another(member: str) -> None:
    told = orjson.loads(dead_letter_record(EVENT).value)
    assert digest({**told, member: "else"}) != expected_digest(EVENT)
    assert digest({name: told[name] for name in reversed(told)}) == expected_digest(EVENT)


def test_older_records_have_fewer_members() -> None:
    # given an event and its record from before there were signatures
    old = EVENT._replace(data=orjson.dumps({"errorClass": "ToolRefused", "message": "no", "attempts": 2}).decode())
    told = orjson.loads(dead_letter_record(old).value)
    # then null is the same as left out
    assert "signature" not in told
    assert digest({**told, "signature": None}) == expected_digest(old)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"x", b""),
        (b"x", b"not JSON"),
        (b"x", b"[1]"),
        (b"x", b'{"exceptionId": "x", "position": 1}'),
        (b"other", orjson.dumps({"exceptionId": EXCEPTION, "position": 1})),
        (EXCEPTION.encode(), orjson.dumps({"exceptionId": EXCEPTION})),
        (EXCEPTION.encode(), orjson.dumps({"exceptionId": EXCEPTION, "position": 0})),
        (EXCEPTION.encode(), orjson.dumps({"exceptionId": EXCEPTION, "position": 2**40})),
        (EXCEPTION.encode(), orjson.dumps({"exceptionId": 7, "position": 1})),
        (b"\xff", orjson.dumps({"exceptionId": EXCEPTION, "position": 1})),
    ],
)
def test_what_is_no_dead_letter_s_record_is_told_apart(key: bytes | None, value: bytes) -> None:
    assert read_record(key, value, 0, 0) is None


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, None),
        (Row(*[None] * 7), Difference.MISSING_IN_TABLE),
        (ROW._replace(tenant_id="OTHER"), Difference.MISSING_IN_TABLE),
        (ROW._replace(position=9, message="later"), None),
        (ROW._replace(position=4), Difference.ROW_DIFFERS),
        (ROW._replace(message="yes"), Difference.ROW_DIFFERS),
        (ROW._replace(error_class="Other"), Difference.ROW_DIFFERS),
        (ROW._replace(attempts=3), Difference.ROW_DIFFERS),
        (ROW._replace(stage=1), Difference.ROW_DIFFERS),
        (ROW._replace(signature="another"), Difference.ROW_DIFFERS),
    ],
)
def test_a_row_is_compared_with_its_newest_event(row: Row, expected: Difference | None) -> None:
    assert row_difference(EVENT, row) == expected


def test_a_report_counts_everything_and_keeps_some_examples() -> None:
    report = Report()
    assert report.agree
    for number in range(EXAMPLES_KEPT + 5):
        report.note(Difference.MISSING_ON_TOPIC, position=number)
    document = report.document()
    assert not document["agree"]
    assert (document["missingOnTopic"], document["unreadable"]) == (EXAMPLES_KEPT + 5, 0)
    assert len(document["examples"]) == EXAMPLES_KEPT
