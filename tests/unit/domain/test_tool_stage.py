"""How a plan is carried on: every step once and in order, and nothing shown that has to stay hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.exceptions import ExceptionRecord, Severity, Status
from service.domain.identifiers import effect_key, plan_id
from service.domain.plans import Plan, PlanStep, StepKind, StepRecord, StepState, ToolCall
from service.domain.redaction import MASK
from service.domain.stages import Advance, CallResult, advance, after_call
from service.domain.stages.tool import LONGEST_SUMMARY, PlanMissingError
from tests.unit.domain.given import (
    NOON,
    call_tool,
    comment,
    exception,
    packs,
    playbook,
    prose,
    recorded,
    set_status,
    walk,
)

_PACKS = packs()
_PLAIN = (StepKind.INTERNAL, StepKind.EXTERNAL, StepKind.MANUAL)
_NINE = [
    "ExceptionNormalized",
    "TriageCompleted",
    "PolicyEvaluationCompleted",
    "PlaybookMatched",
    "StepExecutionRequested",
    "ToolExecutionRequested",
    "ToolExecutionCompleted",
    "ExceptionResolved",
]


def test_a_straight_run_with_one_tool_leaves_eight_events_after_its_ingestion() -> None:
    pack_set = packs({"playbooks": [playbook(call_tool(id="x"))]})
    done = walk(exception(), pack_set, {"found": True})
    assert done.finished is Status.RESOLVED
    assert done.types == _NINE


def test_a_tools_call_shows_its_key_and_its_answer() -> None:
    record = exception()
    done = walk(record, packs({"playbooks": [playbook(call_tool(id="x"))]}), {"found": True})
    key = effect_key(plan_id(record.exception_id, 1), "1")
    assert done.data("ToolExecutionRequested") == {"tool": "trace", "stepOrder": 1, "idempotencyKey": key}
    answered = {"tool": "trace", "stepOrder": 1, "status": "ok", "output": {"found": True}}
    assert done.data("ToolExecutionCompleted") == answered


def test_internal_steps_are_carried_out_on_the_way() -> None:
    owner = {"name": "own", "action_type": "assign_owner", "params": {"owner": "{exception.severity}-desk"}}
    steps = [comment("seen {exception.rawPayload.id}"), owner, call_tool(id="x"), comment("done")]
    record = replace(exception(payload={"id": "P-1"}))
    done = walk(record, packs({"playbooks": [playbook(*steps)]}))
    assert done.finished is Status.RESOLVED
    assert done.types[4:] == [
        "StepExecutionRequested",
        "CommentAdded",
        "StepCompleted",
        "StepExecutionRequested",
        "StepCompleted",
        "StepExecutionRequested",
        "ToolExecutionRequested",
        "ToolExecutionCompleted",
        "StepExecutionRequested",
        "CommentAdded",
        "StepCompleted",
        "ExceptionResolved",
    ]
    assert done.record.step_results.keys() == {"1", "2", "3", "4"}
    texts = [event.data["text"] for event in done.events if event.type == "CommentAdded"]
    assert texts == ["seen P-1", "done"]


def test_an_owner_is_set_on_the_row() -> None:
    owner = PlanStep(1, "own", StepKind.INTERNAL, "assign_owner", {"owner": "desk"})
    assert _advanced(exception(plan=Plan("p", (owner,)))).changes.assigned_to == "desk"


@pytest.mark.parametrize(("status", "event"), [("RESOLVED", "ExceptionResolved"), ("ESCALATED", "ExceptionEscalated")])
def test_a_plan_can_say_how_it_ends(status: str, event: str) -> None:
    done = walk(exception(), packs({"playbooks": [playbook(set_status(status))]}))
    assert done.finished is Status(status)
    assert done.types[-2:] == ["StepCompleted", event]


def test_a_persons_step_stops_the_plan() -> None:
    done = walk(exception(), packs({"playbooks": [playbook(comment(), prose())]}))
    assert done.finished is Status.PENDING_STEP
    assert done.types[-1] == "StepExecutionRequested"
    assert done.record.step_results.keys() == {"1"}


def test_without_a_plan_there_is_nothing_to_carry_out() -> None:
    with pytest.raises(PlanMissingError):
        _advanced(exception())


def test_answers_are_masked_and_cut_to_size() -> None:
    pack_set = packs({"playbooks": [playbook(call_tool(id="x"))], "sensitiveFields": ["bank.iban"]})
    record = exception(payload={"bank": {"iban": "DE12345"}})
    # given a tool that repeats what it should not
    answer = {"iban": "DE12345", "note": "paid to DE12345"}
    shown = walk(record, pack_set, answer).data("ToolExecutionCompleted")["output"]
    assert shown == {"iban": MASK, "note": f"paid to {MASK}"}
    # and one that says very much
    long = walk(record, pack_set, {"text": "DE12345 é" * 5_000}).data("ToolExecutionCompleted")["output"]
    assert long["truncated"] is True
    assert len(json.dumps(long, ensure_ascii=False).encode()) < LONGEST_SUMMARY + 200
    assert "DE12345" not in str(long)


@pytest.mark.parametrize("output", [None, 5, "text", [1], {"big": 2**80}, {"odd": "\ud800"}])
def test_any_json_can_be_an_answer(output: Any) -> None:
    done = walk(exception(), packs({"playbooks": [playbook(call_tool(id="x"))]}), output)
    assert done.data("ToolExecutionCompleted")["output"] == output


def _advanced(record: ExceptionRecord) -> Advance:
    return advance(record, _PACKS, plan_id(record.exception_id, 1), NOON)


def _step(order: int, kind: StepKind) -> PlanStep:
    if kind is StepKind.EXTERNAL:
        return PlanStep(order, f"s{order}", kind, "call_tool", {}, ToolCall("trace", "https://tools.example", {}))
    if kind is StepKind.INTERNAL:
        return PlanStep(order, f"s{order}", kind, "add_comment", {"text": "hm"})
    return PlanStep(order, f"s{order}", kind, "Ring the depot")


@st.composite
def _plans(draw: st.DrawFn) -> Plan:
    orders = sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=8)))
    return Plan("p", tuple(_step(order, draw(st.sampled_from(_PLAIN))) for order in orders))


@given(plan=_plans(), crashes=st.lists(st.booleans(), max_size=20))
def test_every_step_is_done_once_and_in_order_whatever_is_delivered_again(plan: Plan, crashes: list[bool]) -> None:
    # given an exception with a plan, and a worker that may crash after any answer was applied
    record = exception(plan=plan, severity=Severity.LOW)
    key = plan_id(record.exception_id, 1)
    done: list[int] = []
    reached = _advanced(record)
    requested = [plan.steps[0].order]
    while True:
        done += [int(step.path) for step in reached.steps]
        requested += [event.data["stepOrder"] for event in reached.events if event.type == "StepExecutionRequested"]
        record = recorded(record, reached.steps)
        if reached.calls:
            # when the worker crashes before the answer is applied, a new delivery comes to the same call
            if crashes and crashes.pop():
                assert _advanced(record).calls == reached.calls
            reached = after_call(record, _PACKS, key, reached.calls[0], CallResult("ok"), NOON)
        elif reached.finished is Status.PENDING_STEP:
            waiting = plan.next_step(record.step_results)
            assert waiting is not None
            done.append(waiting.order)
            record = recorded(record, [StepRecord(waiting.path, StepState.DONE)])
            following = plan.next_step(record.step_results)
            if following is None:
                break
            requested.append(following.order)
            reached = _advanced(record)
        else:
            assert reached.finished is Status.RESOLVED
            break
    # then every step was asked for once and done once, in order
    orders = [step.order for step in plan.steps]
    assert done == orders
    assert requested == orders
