"""Whether a person is asked, which plan is chosen, and what it is frozen as."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.errors import (
    PayloadInvalidError,
    StepNotWaitingError,
    TemplateUnresolvedError,
    ToolNotApprovedError,
)
from service.domain.exceptions import ExceptionRecord, Input, InputType, Outcome, Severity, Stage, Status
from service.domain.packs import PackSet
from service.domain.plan_documents import from_document, to_document
from service.domain.planning import resolved_call
from service.domain.plans import Plan, PlanStep, StepKind, StepResult, StepState, ToolCall
from service.domain.redaction import MASK
from service.domain.stages import DECIDE
from tests.unit.domain.given import NOON, call_tool, comment, exception, packs, playbook, prose, set_status

_CAREFUL = {
    "customGuardrails": {"humanApprovalThreshold": 0.8},
    "humanApprovalRules": [
        {"severity": "CRITICAL", "requireApproval": True},
        {"severity": "HIGH", "requireApproval": False},
    ],
}


def _policy(pack_set: PackSet, **fields: Any) -> Outcome:
    return DECIDE[Stage.POLICY](exception(**fields), pack_set, NOON)


def test_what_no_rule_holds_back_is_allowed() -> None:
    outcome = _policy(packs(tenant=_CAREFUL), severity=Severity.HIGH, confidence=0.8)
    assert outcome.finished is None
    assert [(event.type, event.data["decision"]) for event in outcome.events] == [
        ("PolicyEvaluationCompleted", "allowed")
    ]


@pytest.mark.parametrize(
    ("severity", "confidence", "reasons"),
    [
        (Severity.CRITICAL, 1.0, ["severity CRITICAL requires approval (humanApprovalRules[0])"]),
        (Severity.LOW, 0.5, ["confidence 0.5 is below the threshold of 0.8 (humanApprovalThreshold)"]),
    ],
)
def test_severity_or_doubt_asks_a_person(severity: Severity, confidence: float, reasons: list[str]) -> None:
    outcome = _policy(packs(tenant=_CAREFUL), severity=severity, confidence=confidence)
    assert outcome.finished is Status.PENDING_APPROVAL
    assert outcome.approval is not None
    assert outcome.approval.reason == reasons[0]
    assert [(event.type, event.data["reasons"]) for event in outcome.events] == [
        ("PolicyEvaluationCompleted", reasons),
        ("ApprovalRequested", reasons),
    ]


def test_a_tenants_guardrails_replace_the_domains_key_by_key() -> None:
    domain = {"guardrails": {"blockLists": ["trace"], "humanApprovalThreshold": 0.9}}
    # given a tenant that only sets its own threshold
    kept = packs(domain, {"customGuardrails": {"humanApprovalThreshold": 0.1}}).guardrails
    assert (kept.threshold, kept.refusal_of("trace") is None) == (0.1, False)
    # and one that only empties the block list
    emptied = packs(domain, {"customGuardrails": {"blockLists": []}}).guardrails
    assert (emptied.threshold, emptied.refusal_of("trace") is None) == (0.9, True)


def test_an_approved_exception_goes_on() -> None:
    outcome = _policy(
        packs(tenant=_CAREFUL), severity=Severity.CRITICAL, input=Input(InputType.APPROVED, {}, actor="bob")
    )
    assert outcome.finished is None
    assert outcome.events[0].data == {"decision": "allowed", "approvedBy": "bob"}


def test_a_rejected_exception_belongs_to_a_person() -> None:
    rejected = Input(InputType.REJECTED, {"reason": "not our trade"}, actor="bob")
    outcome = _policy(packs(tenant=_CAREFUL), input=rejected)
    assert outcome.finished is Status.ESCALATED
    assert [(event.type, event.data) for event in outcome.events] == [
        ("ExceptionEscalated", {"reason": "not our trade", "rejectedBy": "bob"})
    ]


def _plan(pack_set: PackSet, payload: dict[str, Any] | None = None, **fields: Any) -> Outcome:
    record = exception(fields.pop("exception_type", "LATE"), payload or {}, **{"severity": Severity.HIGH, **fields})
    return DECIDE[Stage.PLAYBOOK](record, pack_set, NOON)


def _chosen(domain: list[dict[str, Any]], tenant: list[dict[str, Any]] | None = None, **fields: Any) -> str | None:
    outcome = _plan(packs({"playbooks": domain}, {"customPlaybooks": tenant or []}), **fields)
    return None if outcome.plan is None else outcome.plan.playbook


def _for(name: str, priority: int = 0, **match: Any) -> dict[str, Any]:
    return playbook(comment(), name=name, priority=priority, conditions={"match": match})


def test_the_tenants_playbook_wins_then_priority_then_order() -> None:
    assert _chosen([_for("a"), _for("b")]) == "a"
    assert _chosen([_for("a"), _for("b", priority=1)]) == "b"
    assert _chosen([_for("a", priority=9)], [_for("own", priority=-1)]) == "own"


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({}, True),
        ({"exception_type": "late"}, True),
        ({"exception_type": "L*"}, True),
        ({"exception_type": "L?TE"}, True),
        ({"exception_type": "*OST"}, False),
        ({"exception_type": "L.*"}, False),
        ({"severity": "HIGH"}, True),
        ({"severity": "LOW"}, False),
        ({"severity_in": ["LOW", "HIGH"]}, True),
        ({"severity_in": ["LOW"], "exception_type": "LATE"}, False),
        ({"domain": "Deliveries"}, True),
        ({"domain": "Elsewhere"}, False),
    ],
)
def test_every_key_of_a_match_has_to_hold(match: dict[str, Any], matches: bool) -> None:
    assert (_chosen([_for("it", **match)]) == "it") is matches


def test_a_type_that_the_pack_does_not_know_can_have_a_playbook_too() -> None:
    assert (
        _chosen([_for("late", exception_type="LATE"), _for("rest", exception_type="W*")], exception_type="WET")
        == "rest"
    )


def test_without_a_playbook_a_person_owns_it() -> None:
    outcome = _plan(packs())
    assert outcome.finished is Status.ESCALATED
    [event] = outcome.events
    assert (event.type, event.data["reason"]) == ("ExceptionEscalated", "no playbook is for LATE of severity HIGH")


def test_a_plan_is_frozen_with_what_its_tool_will_be_sent() -> None:
    tools = {
        "trace": {"endpoint": "https://tools.example/trace", "method": "PUT", "timeoutSeconds": 3, "idempotent": True}
    }
    steps = [
        call_tool(id="{{ exception.rawPayload.id }}", note="for {exception.sourceSystem}"),
        prose("Ring the depot"),
    ]
    outcome = _plan(packs({"tools": tools, "playbooks": [playbook(*steps)]}), {"id": "P-1"})
    assert outcome.plan == Plan(
        "chase",
        (
            PlanStep(
                1,
                "call trace",
                StepKind.EXTERNAL,
                "call_tool",
                {},
                ToolCall(
                    "trace", "https://tools.example/trace", {"id": "P-1", "note": "for ledger"}, "PUT", 3.0, 3, True
                ),
            ),
            PlanStep(2, "Ring the depot", StepKind.MANUAL, "Ring the depot", {}),
        ),
    )
    assert from_document(to_document(outcome.plan)) == outcome.plan
    # and no event shows what the tool will be sent
    assert [event.type for event in outcome.events] == ["PlaybookMatched", "StepExecutionRequested"]
    assert "P-1" not in str(outcome.events)


def test_a_template_that_leads_nowhere_names_step_and_expression() -> None:
    pack_set = packs({"playbooks": [playbook(comment(), call_tool(id="{{ exception.rawPayload.id }}"))]})
    with pytest.raises(TemplateUnresolvedError) as failure:
        _plan(pack_set)
    assert "playbooks[0].steps[1]" in str(failure.value)
    assert "{{ exception.rawPayload.id }}" in str(failure.value)


def test_a_value_that_the_tool_does_not_take_is_refused_before_the_call() -> None:
    pack_set = packs({"playbooks": [playbook(call_tool(id="{{ exception.rawPayload.id }}"))]})
    with pytest.raises(PayloadInvalidError, match="takes id as string"):
        _plan(pack_set, {"id": 7})


def test_sensitive_fields_reach_only_the_tool_that_is_declared_to_need_them() -> None:
    tools = {
        "trace": {"endpoint": "https://tools.example/trace"},
        "pay": {"endpoint": "https://tools.example/pay", "sensitiveFields": ["bank.iban"]},
    }
    iban, text = "{{ exception.rawPayload.bank.iban }}", "to {exception.rawPayload.bank.iban}"
    steps = [call_tool("trace", iban=iban), call_tool("pay", iban=iban), comment(text)]
    pack_set = packs({"tools": tools, "playbooks": [playbook(*steps)], "sensitiveFields": ["bank.iban"]})
    plan = _plan(pack_set, {"bank": {"iban": "DE1234"}}).plan
    assert plan is not None
    record = exception("LATE", {"bank": {"iban": "DE1234"}}, plan=plan)
    calls = [resolved_call(step, record, pack_set) for step in plan.steps if step.tool_call is not None]
    assert [call.parameters["iban"] for call in calls] == [MASK, "DE1234"]
    # and the plan, which is stored and shown, holds it nowhere
    assert "DE1234" not in str(to_document(plan))
    assert plan.steps[2].parameters == {"text": f"to {MASK}"}


@pytest.mark.parametrize(
    ("tenant", "reason"),
    [
        ({"approvedTools": ["find"]}, "approvedTools"),
        ({"customGuardrails": {"blockLists": ["trace"]}}, "block list"),
        ({"customGuardrails": {"allowLists": ["find"]}}, "allow list"),
        ({"approvedTools": ["trace"], "customGuardrails": {"blockLists": ["trace"]}}, "block list"),
    ],
)
def test_a_tool_that_the_guardrails_forbid_is_not_planned(tenant: dict[str, Any], reason: str) -> None:
    with pytest.raises(ToolNotApprovedError, match=reason):
        _plan(packs({"playbooks": [playbook(comment(), call_tool(id="x"))]}, tenant))


@pytest.mark.parametrize("tenant", [{}, {"approvedTools": ["trace"]}, {"customGuardrails": {"allowLists": ["trace"]}}])
def test_a_tool_that_nothing_forbids_is_planned(tenant: dict[str, Any]) -> None:
    assert _plan(packs({"playbooks": [playbook(call_tool(id="x"))]}, tenant)).finished is None


def test_a_step_whose_condition_does_not_match_is_left_out_and_noted() -> None:
    steps = [comment(condition="rawPayload.vip"), comment(condition="rawPayload.days > 3"), comment()]
    outcome = _plan(packs({"playbooks": [playbook(*steps)]}), {"days": 1})
    assert outcome.plan is not None
    assert [step.order for step in outcome.plan.steps] == [3]
    assert outcome.events[0].data == {"playbook": "chase", "path": "playbooks[0]", "steps": 1, "leftOut": [1, 2]}


def test_a_conditional_end_cuts_the_plan_short() -> None:
    steps = [set_status("ESCALATED", condition="rawPayload.days > 3"), call_tool(id="{{ exception.rawPayload.id }}")]
    outcome = _plan(packs({"playbooks": [playbook(*steps)]}), {"days": 9})
    assert outcome.plan is not None
    assert [step.action for step in outcome.plan.steps] == ["set_status"]


def test_a_playbook_none_of_whose_steps_applies_resolves_nothing() -> None:
    outcome = _plan(packs({"playbooks": [playbook(comment(condition="false"))]}))
    assert (outcome.finished, outcome.plan) == (Status.ESCALATED, None)


def _with_plan(*kinds: StepKind, done: int = 0, report: object = 1) -> ExceptionRecord:
    steps = tuple(PlanStep(order, f"step {order}", kind, "do") for order, kind in enumerate(kinds, 1))
    return exception(
        plan=Plan("chase", steps),
        step_results={str(order): StepResult(StepState.DONE) for order in range(1, done + 1)},
        input=Input(InputType.STEP_COMPLETED, {"stepOrder": report, "comment": "done it"}, actor="bob"),
    )


def _completed(record: ExceptionRecord) -> Outcome:
    return DECIDE[Stage.PLAYBOOK](record, packs(), NOON)


@pytest.mark.parametrize(
    ("following", "finished", "events"),
    [
        ((StepKind.MANUAL,), Status.PENDING_STEP, ["StepCompleted", "StepExecutionRequested"]),
        ((StepKind.EXTERNAL,), None, ["StepCompleted", "StepExecutionRequested"]),
        ((StepKind.INTERNAL,), None, ["StepCompleted", "StepExecutionRequested"]),
        ((), Status.RESOLVED, ["StepCompleted", "ExceptionResolved"]),
    ],
)
def test_a_persons_step_is_done_and_the_next_one_is_asked_for(
    following: tuple[StepKind, ...], finished: Status | None, events: list[str]
) -> None:
    outcome = _completed(_with_plan(StepKind.MANUAL, *following))
    assert outcome.finished is finished
    assert [event.type for event in outcome.events] == events
    assert outcome.events[0].data == {"stepOrder": 1, "name": "step 1", "by": "bob", "comment": "done it"}


def test_a_person_can_complete_a_tools_step_whose_effect_is_unknown() -> None:
    assert _completed(_with_plan(StepKind.EXTERNAL)).finished is Status.RESOLVED


@pytest.mark.parametrize(
    "record",
    [
        _with_plan(StepKind.MANUAL, StepKind.MANUAL, report=2),
        _with_plan(StepKind.MANUAL, StepKind.MANUAL, done=1, report=1),
        _with_plan(StepKind.MANUAL, done=1, report=1),
        _with_plan(StepKind.INTERNAL, report=1),
        _with_plan(StepKind.MANUAL, report="1"),
        exception(input=Input(InputType.STEP_COMPLETED, {"stepOrder": 1})),
    ],
)
def test_a_step_that_is_not_waited_for_cannot_be_completed(record: ExceptionRecord) -> None:
    with pytest.raises(StepNotWaitingError):
        _completed(record)
