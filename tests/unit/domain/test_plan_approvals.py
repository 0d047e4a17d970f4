"""A person approves a plan: this one, with these parameters, for so long."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.domain.errors import NothingToApproveError
from service.domain.exceptions import (
    ApprovalView,
    ExceptionRecord,
    Input,
    InputType,
    Outcome,
    Severity,
    Stage,
    Status,
)
from service.domain.plan_documents import plan_hash, to_document
from service.domain.stages import DECIDE
from tests.unit.domain.given import NOON, call_tool, exception, packs, playbook

_DOMAIN = {
    "tools": {"trace": {"endpoint": "https://tools.example/trace", "sensitiveFields": ["iban"]}},
    "sensitiveFields": ["iban"],
    "playbooks": [playbook(call_tool(id="{{ exception.rawPayload.id }}", iban="{{ exception.rawPayload.iban }}"))],
}
_CAREFUL = {"humanApprovalRules": [{"severity": "HIGH", "approvals": 2, "timeLimitMinutes": 30}]}
_PACKS = packs(_DOMAIN, _CAREFUL)
_PAYLOAD = {"id": "P-1", "iban": "DE89370400440532013000"}


def _policy(record: ExceptionRecord) -> Outcome:
    return DECIDE[Stage.POLICY](record, _PACKS, NOON)


def _asked(payload: dict[str, Any] | None = None, **fields: Any) -> tuple[ExceptionRecord, Outcome]:
    record = exception("LATE", payload or _PAYLOAD, **{"severity": Severity.HIGH, **fields})
    return record, _policy(record)


def _resting(outcome: Outcome, record: ExceptionRecord, **view: Any) -> ExceptionRecord:
    """The row after a person was asked, with the approval as people left it."""
    assert outcome.approval is not None
    assert outcome.plan is not None
    asked = ApprovalView(outcome.approval.plan_hash, outcome.approval.approvals_needed, due_at=outcome.approval.due_at)
    return replace(
        record,
        sequence=record.sequence + 1,
        resting_status=Status.PENDING_APPROVAL,
        plan=outcome.plan,
        plan_hash=outcome.approval.plan_hash,
        approval=replace(asked, **view),
    )


def _decided(kind: InputType, record: ExceptionRecord, **data: Any) -> ExceptionRecord:
    return replace(record, input=Input(kind, data, actor="bob"))


def test_what_is_asked_for_is_the_plan_without_what_it_will_send() -> None:
    _, outcome = _asked()
    assert outcome.finished is Status.PENDING_APPROVAL
    assert outcome.plan is not None
    assert outcome.approval is not None
    asked = outcome.events[-1].data
    assert (asked["planHash"], asked["approvalsNeeded"]) == (plan_hash(outcome.plan), 2)
    assert asked["steps"] == [
        {"step": "1", "name": "call trace", "kind": "external", "action": "call_tool", "tool": "trace"}
    ]
    assert asked["dueAt"] == (NOON + timedelta(minutes=30)).isoformat()
    assert [(timer.kind, timer.due_at) for timer in outcome.timers] == [("approval", NOON + timedelta(minutes=30))]
    assert not {"P-1", _PAYLOAD["iban"]} & set(str(asked).replace("'", " ").split())
    assert _PAYLOAD["iban"] not in str(to_document(outcome.plan))


def test_the_plan_that_was_approved_is_the_one_that_is_carried_out() -> None:
    record, outcome = _asked()
    resting = _resting(outcome, record, given=("alice", "bob"), pending=False)
    approved = _decided(InputType.APPROVED, resting, comment=f"asked the owner of {_PAYLOAD['iban']}")
    allowed = _policy(approved)
    assert allowed.finished is None
    assert allowed.events[0].data["comment"] == "asked the owner of [REDACTED]"
    begun = DECIDE[Stage.PLAYBOOK](approved, _PACKS, NOON)
    # then it is not made anew
    assert (begun.plan, begun.finished) == (None, None)
    assert begun.events[0].data["planHash"] == outcome.approval.plan_hash if outcome.approval else False


@pytest.mark.parametrize("stage", [Stage.POLICY, Stage.PLAYBOOK])
def test_an_approval_of_another_plan_is_void_and_asked_for_again(stage: Stage) -> None:
    record, outcome = _asked()
    resting = _resting(outcome, record, given=("alice", "bob"), pending=False, plan_hash="0" * 64)
    again = DECIDE[stage](_decided(InputType.APPROVED, resting), _PACKS, NOON)
    assert again.finished is Status.PENDING_APPROVAL
    assert again.approval is not None
    assert again.events[-1].data["voided"] is True


def test_an_approval_of_what_the_person_did_not_see_is_void() -> None:
    record, outcome = _asked()
    resting = _resting(outcome, record, given=("alice", "bob"), pending=False)
    assert _policy(_decided(InputType.APPROVED, resting, planHash="1" * 64)).finished is Status.PENDING_APPROVAL


@pytest.mark.parametrize("update", [{"note": "no step reads it"}, {"id": "P-2"}, {"iban": "DE02120300000000202051"}])
def test_an_update_voids_what_was_asked(update: dict[str, Any]) -> None:
    # the plan sends a sensitive value that it does not hold, so it is a new plan with every payload
    record, outcome = _asked()
    updated = replace(_resting(outcome, record), raw_payload={**_PAYLOAD, **update}, input=Input(InputType.UPDATED, {}))
    again = _policy(updated)
    assert again.finished is Status.PENDING_APPROVAL
    assert again.approval is not None
    assert again.events[-1].data.get("voided") is True


def test_an_update_that_changes_nothing_of_the_plan_leaves_the_question_standing() -> None:
    plain = packs({"playbooks": [playbook(call_tool(id="{{ exception.rawPayload.id }}"))]}, _CAREFUL)
    record = exception("LATE", _PAYLOAD, severity=Severity.HIGH)
    outcome = DECIDE[Stage.POLICY](record, plain, NOON)
    updated = replace(
        _resting(outcome, record), raw_payload={**_PAYLOAD, "note": "x"}, input=Input(InputType.UPDATED, {})
    )
    again = DECIDE[Stage.POLICY](updated, plain, NOON)
    assert (again.finished, again.approval, again.plan) == (Status.PENDING_APPROVAL, None, None)


def test_one_of_two_approvals_is_not_enough() -> None:
    record, outcome = _asked()
    with pytest.raises(NothingToApproveError, match="1 of 2"):
        _policy(_decided(InputType.APPROVED, _resting(outcome, record, given=("alice",), pending=False)))


@pytest.mark.parametrize(
    ("changes", "finished"),
    [
        ({}, Status.ESCALATED),
        ({"pending": False}, Status.PENDING_APPROVAL),
        ({"due_at": NOON + timedelta(hours=1)}, Status.PENDING_APPROVAL),
    ],
)
def test_a_plan_that_nobody_approves_in_time_belongs_to_a_person(changes: dict[str, Any], finished: Status) -> None:
    record, outcome = _asked()
    resting = _resting(outcome, record, **{"due_at": NOON, **changes})
    expired = _policy(_decided(InputType.APPROVAL_EXPIRED, resting))
    assert expired.finished is finished
    assert expired.events[0].type == ("ExceptionEscalated" if finished is Status.ESCALATED else "DuplicateIgnored")


def test_where_there_is_no_plan_a_person_is_asked_all_the_same() -> None:
    record = exception("LOST", _PAYLOAD, severity=Severity.HIGH)
    outcome = _policy(record)
    assert (outcome.finished, outcome.plan) == (Status.PENDING_APPROVAL, None)
    assert outcome.approval is not None
    assert outcome.approval.plan_hash is None
    approved = replace(
        record, approval=ApprovalView(None, given=("a",), pending=False), input=Input(InputType.APPROVED, {}, "a")
    )
    assert _policy(approved).finished is None
    assert DECIDE[Stage.PLAYBOOK](approved, _PACKS, NOON).finished is Status.ESCALATED
