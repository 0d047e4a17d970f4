"""CloudEvents as bodies."""

from __future__ import annotations

from typing import Any

import pytest

from service.api.cloudevent import from_binary, from_structured
from service.api.problems import ProblemError

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "7", "source": "urn:erp", "type": "T", "data": {"a": 1}}


def test_attributes_become_members() -> None:
    event = {
        **EVENT,
        "time": "2026-01-31T12:00:00Z",
        "severity": "LOW",
        "entity": "Trade",
        "tenantid": "T1",
        "other": "x",
    }
    assert from_structured(event) == {
        "sourceSystem": "urn:erp",
        "externalId": "7",
        "exceptionType": "T",
        "occurredAt": "2026-01-31T12:00:00Z",
        "severity": "LOW",
        "entity": "Trade",
        "tenantId": "T1",
        "rawPayload": {"a": 1},
    }


def test_data_that_is_a_whole_body_wins_over_the_attributes() -> None:
    body = {"rawPayload": {"a": 1}, "sourceSystem": "ERP", "exceptionType": "X"}
    assert from_structured({**EVENT, "data": body}) == {**body, "externalId": "7"}


def test_what_is_not_given_is_not_made_up() -> None:
    # two sends of an event without a time must be the same request
    assert "occurredAt" not in from_structured(EVENT)
    assert from_structured(EVENT) == from_structured(EVENT)


def test_headers_are_decoded() -> None:
    headers = [
        ("Ce-Specversion", "1.0"),
        ("Ce-Id", "a%20b"),
        ("Ce-Source", "urn:erp"),
        ("Ce-Type", "T"),
        ("Accept", "*/*"),
    ]
    assert from_binary(headers, {"a": 1})["externalId"] == "a b"


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_a_required_attribute_is_required_in_both_modes(missing: str) -> None:
    event = {name: value for name, value in EVENT.items() if name != missing}
    headers = [(f"ce-{name}", value) for name, value in event.items() if name != "data"]
    for read in (lambda: from_structured(event), lambda: from_binary(headers, {})):
        with pytest.raises(ProblemError) as caught:
            read()
        assert [fault.path for fault in caught.value.faults] == [missing]


def test_a_nul_in_a_header_is_found() -> None:
    headers = [("ce-specversion", "1.0"), ("ce-id", "a%00"), ("ce-source", "x"), ("ce-type", "T")]
    with pytest.raises(ProblemError) as caught:
        from_binary(headers, {})
    assert [fault.path for fault in caught.value.faults] == ["externalId"]
