"""The payload as it came is shown to an operator with a reason, and never without a trace."""

from __future__ import annotations

import json

import pytest

from service.persistence.unit_of_work import unit_of_work
from tests.integration.api.world import Caller, Tenant, World, exception

SSN, CARD = "078-05-1120", 4111111111111111
PAYLOAD = {"customer": {"ssn": SSN, "name": "Ada"}, "cards": [CARD], "amount": 12.5}
VIEW = {"customer": {"ssn": "[REDACTED]", "name": "Ada"}, "cards": ["[REDACTED]"], "amount": 12.5}


@pytest.fixture
def exception_id(world: World, tenant: Tenant, caller: Caller) -> str:
    """An exception that intake has looked at."""
    found = caller.accepted(exception(rawPayload=PAYLOAD))
    statement = "UPDATE exceptions SET redacted_payload = %(view)s::jsonb WHERE exception_id = %(id)s"
    world.as_engine(tenant, lambda t: t.run(statement, {"view": json.dumps(VIEW), "id": found}))
    return found


def test_an_operator_with_a_reason_sees_it_and_the_timeline_tells(
    world: World, tenant: Tenant, caller: Caller, exception_id: str
) -> None:
    # when an operator gives a reason that repeats what only the payload says
    reason = f"the customer with {SSN} and card {CARD} called, Ada"
    operator = world.caller(tenant, "operator")
    answer = operator.post(f"/exceptions/{exception_id}/payload", {"reason": reason})
    # then he sees the payload
    assert answer.status_code == 200, answer.text
    assert answer.json == {"exceptionId": exception_id, "rawPayload": PAYLOAD}
    assert answer.headers["Cache-Control"] == "no-store"
    # and everybody sees that he did, and not what he saw
    events = caller.timeline(exception_id)
    assert [event["type"] for event in events] == ["ExceptionIngested", "PayloadRead"]
    told = {"by": "the operator", "reason": "the customer with [REDACTED] and card [REDACTED] called, Ada"}
    assert events[-1]["data"] == told
    # and nothing else about the exception has changed
    shown = caller.get(f"/exceptions/{exception_id}").json
    assert (shown["status"], shown["sequence"], shown["rawPayload"]) == ("RECEIVED", 1, VIEW)


@pytest.mark.parametrize(
    ("role", "body", "status"),
    [
        ("ingest", {"reason": "because"}, 403),
        ("operator", {}, 422),
        ("operator", {"reason": "  "}, 422),
        ("operator", {"reason": "because", "more": 1}, 422),
    ],
)
def test_nobody_else_and_nobody_without_a_reason(
    world: World, tenant: Tenant, caller: Caller, exception_id: str, role: str, body: dict[str, str], status: int
) -> None:
    answer = world.caller(tenant, role).post(f"/exceptions/{exception_id}/payload", body)
    assert answer.status_code == status
    assert SSN not in answer.text
    events = caller.timeline(exception_id)
    assert [event["type"] for event in events] == ["ExceptionIngested"]


def test_another_tenants_payload_is_not_there(world: World, exception_id: str) -> None:
    answer = world.caller(world.tenant()).post(f"/exceptions/{exception_id}/payload", {"reason": "because"})
    assert answer.status_code == 404


def test_before_intake_nothing_is_shown_and_a_reason_keeps_nothing_of_the_payload(caller: Caller) -> None:
    found = caller.accepted(exception(rawPayload=PAYLOAD))
    assert caller.get(f"/exceptions/{found}").json["rawPayload"] is None
    caller.post(f"/exceptions/{found}/payload", {"reason": f"{SSN} or {CARD}"})
    assert caller.timeline(found)[-1]["data"]["reason"] == "[REDACTED] or [REDACTED]"


def test_a_search_does_not_find_what_is_in_a_payload(caller: Caller, exception_id: str) -> None:
    for text in (SSN, str(CARD), "Ada"):
        assert caller.get(f"/exceptions?q={text}").json["items"] == []


def test_a_payload_moved_to_another_row_is_not_shown(world: World, tenant: Tenant, caller: Caller) -> None:
    # given two exceptions of a sealed installation, one of which got the other's payload in the database
    with unit_of_work(world.application, [tenant.tenant_id]) as transaction:
        if transaction.sealing.current is None:
            pytest.skip("this installation has no key to seal with")
    mine, other = (caller.accepted(exception(rawPayload={"n": n})) for n in (1, 2))
    swap = """UPDATE exceptions e SET sealed_payload = o.sealed_payload
                FROM exceptions o WHERE e.exception_id = %(mine)s AND o.exception_id = %(other)s"""
    world.as_engine(tenant, lambda t: t.run(swap, {"mine": mine, "other": other}))
    # then it is not opened there, and no reading is on record
    answer = caller.post(f"/exceptions/{mine}/payload", {"reason": "because"})
    assert answer.status_code == 500 and "rawPayload" not in answer.text
    assert len(caller.timeline(mine)) == 1
