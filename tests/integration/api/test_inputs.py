"""What comes later: sequences, the gate, and which states allow a person to decide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from service.persistence.sealing import input_slot
from service.persistence.unit_of_work import Transaction
from tests.integration.api.situations import asks_for_approval, by_hand, waits_in_plan
from tests.integration.api.world import Caller, Tenant, World, exception, refused

NEVER = "01a205fc-ae0a-74cf-a0b5-232c5ef761ac"


def input_data(world: World, tenant: Tenant, exception_id: str, sequence: int) -> Any:
    def read(transaction: Transaction) -> Any:
        (row,) = transaction.rows(
            "SELECT type, data, sealed_data, actor FROM inputs WHERE exception_id = %(id)s AND sequence = %(s)s",
            {"id": exception_id, "s": sequence},
        )
        assert row.data == {}
        slot = input_slot(sequence)
        data = transaction.sealing.open(tenant.tenant_id, UUID(exception_id).bytes, slot, row.sealed_data)
        return row.type, data, row.actor

    return world.as_engine(tenant, read)


def test_an_input_waits_until_what_came_before_it_is_worked(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception that is being worked
    exception_id = caller.accepted()
    # when two updates and a comment come
    sequences = [
        caller.post(f"/exceptions/{exception_id}/events", {"type": kind, "data": data}).json["sequence"]
        for kind, data in (("updated", {"a": 1}), ("updated", {"rawPayload": {"a": 2}}), ("comment", {"text": "hm"}))
    ]
    # then each has the next sequence and is stored, but none is ready
    assert sequences == [2, 3, 4]
    assert world.outbox(tenant, exception_id) == [(1, 0, True), (2, 0, False), (3, 0, False), (4, 0, False)]
    assert input_data(world, tenant, exception_id, 2) == ("updated", {"rawPayload": {"a": 1}}, "the admin")
    assert input_data(world, tenant, exception_id, 3) == ("updated", {"rawPayload": {"a": 2}}, "the admin")
    assert input_data(world, tenant, exception_id, 4) == ("comment", {"text": "hm"}, "the admin")
    # and the exception stays where it was
    found = caller.get(f"/exceptions/{exception_id}").json
    assert (found["status"], found["stage"], found["sequence"], found["lastSequence"]) == ("RECEIVED", "intake", 1, 4)


def test_an_input_is_worked_at_once_when_nothing_else_is(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception at rest
    exception_id = caller.accepted()
    world.rest(tenant, exception_id, "RESOLVED")
    # when an update comes, and another right after it
    first = caller.post(f"/exceptions/{exception_id}/events", {"type": "updated", "data": {"a": 1}})
    second = caller.post(f"/exceptions/{exception_id}/events", {"type": "updated", "data": {"a": 2}})
    # then the first is ready and current, the second waits for it
    assert (first.json["sequence"], first.json["status"]) == (2, "IN_PROGRESS")
    assert (second.json["sequence"], second.json["status"]) == (3, "IN_PROGRESS")
    assert world.outbox(tenant, exception_id)[1:] == [(2, 0, True), (3, 0, False)]
    found = caller.get(f"/exceptions/{exception_id}").json
    assert (found["status"], found["stage"], found["sequence"], found["lastSequence"]) == (
        "IN_PROGRESS",
        "intake",
        2,
        3,
    )


def test_inputs_at_the_same_moment_get_different_sequences(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception at rest
    exception_id = caller.accepted()
    world.rest(tenant, exception_id, "RESOLVED")

    def send(number: int) -> int:
        sender = Caller(world.client.application.test_client(), caller.key)
        body = {"type": "comment", "data": {"text": f"{number}"}}
        return int(sender.post(f"/exceptions/{exception_id}/events", body).json["sequence"])

    # when comments come at once, while a stage has the exception locked
    lock = "SELECT 1 FROM exceptions WHERE exception_id = %(id)s FOR UPDATE"
    with ThreadPoolExecutor(6) as pool:
        with world.holding(tenant, lock, {"id": exception_id}, waiting=6):
            sent = [pool.submit(send, number) for number in range(12)]
        sequences = [one.result() for one in sent]
    # then no two have the same sequence and exactly one is ready
    assert sorted(sequences) == list(range(2, 14))
    assert [ready for _, _, ready in world.outbox(tenant, exception_id)[1:]].count(True) == 1
    positions = [event["position"] for event in caller.timeline(exception_id)]
    assert positions == list(range(1, 14))


def test_events_of_inputs_tell_who_but_not_what(caller: Caller) -> None:
    exception_id = caller.accepted()
    caller.post(f"/exceptions/{exception_id}/events", {"type": "updated", "data": {"ssn": "078-05-1120"}})
    caller.post(f"/exceptions/{exception_id}/events", {"type": "comment", "data": {"text": "her ssn is 078-05-1120"}})
    _, updated, commented = caller.timeline(exception_id)
    assert (updated["type"], updated["data"]) == (
        "ExceptionUpdated",
        {"type": "updated", "by": "the admin", "fields": ["ssn"]},
    )
    assert (commented["type"], commented["data"]) == ("ExceptionUpdated", {"type": "comment", "by": "the admin"})


@pytest.mark.parametrize(
    ("decision", "event", "state", "kind"),
    [("approve", "ApprovalGranted", "approved", "approved"), ("reject", "ApprovalRejected", "rejected", "rejected")],
)
def test_a_person_decides_once(world: World, tenant: Tenant, decision: str, event: str, state: str, kind: str) -> None:
    # given an exception that waits for approval
    operator = world.caller(tenant, "operator")
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id)
    # when an operator decides, and again
    answer = operator.post(f"/exceptions/{exception_id}/{decision}", {"comment": "fine"})
    again = operator.post(f"/exceptions/{exception_id}/{decision}", {"comment": "fine"})
    # then the decision is recorded and goes back into the chain at policy
    assert (answer.status_code, answer.json["sequence"]) == (202, 2)
    assert world.outbox(tenant, exception_id)[1:] == [(2, 2, True)]
    assert input_data(world, tenant, exception_id, 2) == (kind, {"comment": "fine"}, "the operator")
    found = operator.get(f"/exceptions/{exception_id}").json
    assert (found["approval"]["state"], found["approval"]["decidedBy"]) == (state, "the operator")
    assert operator.timeline(exception_id)[-1]["type"] == event
    # and there is nothing to decide any more
    refused(again, 409, "conflict")


def test_a_step_is_completed_when_the_plan_is_at_it(world: World, tenant: Tenant, caller: Caller) -> None:
    # given a plan of two manual steps of which the first is done
    exception_id = caller.accepted()
    waits_in_plan(world, tenant, exception_id, by_hand(), steps={"1": "done"})
    before = world.stored(tenant)
    # when other steps than the second are reported done
    for order in (1, 3):
        answer = caller.post(f"/exceptions/{exception_id}/steps/{order}/complete")
        # then that is refused
        assert "waits for step 2" in refused(answer, 409, "conflict")["detail"]
    assert world.stored(tenant) == before
    # when the second is
    answer = caller.post(f"/exceptions/{exception_id}/steps/2/complete", {"comment": "called them"})
    # then it goes back into the chain at the playbook
    assert answer.status_code == 202
    assert world.outbox(tenant, exception_id)[1:] == [(2, 3, True)]
    assert input_data(world, tenant, exception_id, 2)[1] == {"step": "2", "stepOrder": 2, "comment": "called them"}
    assert caller.timeline(exception_id)[-1]["type"] == "StepCompletionRequested"


def test_a_plan_is_shown_without_its_parameters(world: World, tenant: Tenant, caller: Caller) -> None:
    exception_id = caller.accepted()
    waits_in_plan(world, tenant, exception_id, by_hand(), steps={"1": "done"})
    answer = caller.get(f"/exceptions/{exception_id}")
    steps = [(step["order"], step["state"], step["completedBy"]) for step in answer.json["plan"]["steps"]]
    assert steps == [(1, "completed", "ann"), (2, "current", None)]
    assert "s3cr3t" not in answer.text


STATES = [
    "RECEIVED", "IN_PROGRESS", "PENDING_APPROVAL", "PENDING_STEP", "WAITING", "RESOLVED", "ESCALATED", "CANCELLED",
    "DEAD_LETTERED", "DISCARDED",
]  # fmt: skip
ALLOWED = {
    "approve": {"PENDING_APPROVAL"},
    "reject": {"PENDING_APPROVAL"},
    "steps/1/complete": set(),
    "cancel": {"RECEIVED", "IN_PROGRESS", "PENDING_APPROVAL", "PENDING_STEP", "WAITING", "ESCALATED"},
    "events": {"RECEIVED", "IN_PROGRESS", "PENDING_STEP", "WAITING", "DEAD_LETTERED"},
}
"""steps/1/complete is allowed in PENDING_STEP with a plan; without one nothing waits for a step.
What is sent to events here is a signal: plans that are not under way can't wait for one."""
BODIES = {"events": {"type": "payment.received"}}
WHY = {"comment": "I have looked at it"}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("call", ALLOWED)
def test_the_state_decides_what_is_allowed(world: World, tenant: Tenant, caller: Caller, call: str, state: str) -> None:
    # given an exception in a state
    exception_id = caller.accepted()
    if state == "PENDING_APPROVAL":
        asks_for_approval(world, tenant, exception_id)
    world.rest(tenant, exception_id, state)
    before = world.stored(tenant)
    # when something is asked of it
    answer = caller.post(f"/exceptions/{exception_id}/{call}", BODIES.get(call, WHY))
    # then it is done or refused, and nothing is stored of what is refused
    if state in ALLOWED[call]:
        assert answer.status_code == 202, answer.text
    else:
        refused(answer, 409, "conflict")
        assert world.stored(tenant) == before


@pytest.mark.parametrize("call", ["approve", "reject", "cancel", "steps/1/complete", f"effects/{NEVER}/resolve"])
def test_who_only_sends_exceptions_may_not_decide(world: World, tenant: Tenant, call: str) -> None:
    sender = world.caller(tenant, "ingest")
    exception_id = sender.accepted()
    world.rest(tenant, exception_id, "PENDING_APPROVAL")
    before = world.stored(tenant)
    refused(sender.post(f"/exceptions/{exception_id}/{call}"), 403, "forbidden")
    assert world.stored(tenant) == before
    # but may read and update its own
    assert sender.get(f"/exceptions/{exception_id}").status_code == 200
    assert sender.post(f"/exceptions/{exception_id}/events", {"type": "updated", "data": {}}).status_code == 202


@pytest.mark.parametrize("call", ["events", "approve", "reject", "cancel", "steps/1/complete"])
@pytest.mark.parametrize("exception_id", [NEVER, "17", "%00"])
def test_what_is_not_there_cannot_be_acted_on(caller: Caller, call: str, exception_id: str) -> None:
    body = {"type": "updated", "data": {}} if call == "events" else WHY
    refused(caller.post(f"/exceptions/{exception_id}/{call}", body), 404, "not-found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "updated"},
        {"type": "comment"},
        {"type": "", "data": {}},
        {"type": " padded", "data": {}},
        {"type": "two\nlines", "data": {}},
        {"type": "x" * 201, "data": {}},
        {"type": "step_due", "data": {}},
        {"type": "a.signal", "data": []},
        {"type": "updated", "data": []},
        {"type": "updated", "data": {"rawPayload": 5}},
        {"type": "updated", "data": {"rawPayload": {}, "more": 1}},
        {"type": "updated", "data": {"a": "\x00"}},
        {"type": "comment", "data": {}},
        {"type": "comment", "data": {"text": "  "}},
        {"type": "comment", "data": {"text": "x" * 10_001}},
    ],
)
def test_an_input_that_cannot_be_worked_is_refused(
    world: World, tenant: Tenant, caller: Caller, body: dict[str, Any]
) -> None:
    exception_id = caller.accepted()
    before = world.stored(tenant)
    refused(caller.post(f"/exceptions/{exception_id}/events", body), 422, "invalid")
    assert world.stored(tenant) == before


def test_an_input_sent_again_under_its_key_is_taken_once(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an update that came under a key
    path = f"/exceptions/{UUID(caller.accepted())}/events"
    body = {"type": "updated", "data": {"a": 1}}
    first = caller.post(path, body, Idempotency_Key="u-1")
    # when it comes again, and other content comes under the key
    again = caller.post(path, body, Idempotency_Key="u-1")
    other = caller.post(path, {"type": "updated", "data": {"a": 2}}, Idempotency_Key="u-1")
    # then it has its sequence still, and the other is refused
    assert (first.json["sequence"], again.json["sequence"]) == (2, 2)
    refused(other, 422, "key-reused")
    assert world.stored(tenant)["inputs"] == 1


def test_a_decision_sent_again_under_its_key_is_no_conflict(world: World, tenant: Tenant, caller: Caller) -> None:
    exception_id = caller.accepted(exception())
    asks_for_approval(world, tenant, exception_id)
    first = caller.post(f"/exceptions/{exception_id}/approve", WHY, Idempotency_Key="a-1")
    again = caller.post(f"/exceptions/{exception_id}/approve", WHY, Idempotency_Key="a-1")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["sequence"] == again.json["sequence"] == 2
