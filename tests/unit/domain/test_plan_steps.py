"""Every kind of step: what it does, what it waits for, and what comes of its failure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.domain.errors import (
    ConditionFailedError,
    PayloadInvalidError,
    StepNotWaitingError,
    TemplateUnresolvedError,
)
from service.domain.exceptions import Severity, Status
from service.domain.plan_documents import to_document
from service.domain.plans import StepState
from tests.unit.domain.given import NOON, comment, exception, packs, playbook, prose
from tests.unit.domain.plan_world import FAILS, UNKNOWN, PlanWorld

_TOOLS = {
    name: {"endpoint": f"https://tools.example/{name}"} for name in ("trace", "order", "pay", "refund", "undo", "bank")
}


def _step(action_type: str, params: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return {"action_type": action_type, "params": params or {}, **keys}


def _call(tool: str, parameters: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return _step("call_tool", {"tool": tool, "parameters": parameters or {}}, name=tool, **keys)


def _world(*steps: dict[str, Any], payload: dict[str, Any] | None = None, **keys: Any) -> PlanWorld:
    domain = {"tools": _TOOLS, "playbooks": [playbook(*steps)], **keys.pop("domain", {})}
    record = exception("LATE", payload or {}, severity=Severity.LOW, deadline_at=NOON + timedelta(days=1))
    return PlanWorld(packs(domain), record, **keys)


def _orders(*answers: Any) -> Any:
    """Tools that answer in turn."""
    left = list(answers)
    return lambda _step, _world: left.pop(0)


# waits


@pytest.mark.parametrize(
    ("params", "due"),
    [
        ({"minutes": 90}, NOON + timedelta(minutes=90)),
        ({"seconds": 5}, NOON + timedelta(seconds=5)),
        ({"until": "2026-01-05T18:00:00+02:00"}, NOON + timedelta(hours=4)),
        ({"until": "{{ exception.rawPayload.cutoff }}"}, NOON + timedelta(hours=5)),
        ({"until": "{{ exception.deadlineAt }}"}, NOON + timedelta(days=1)),
    ],
)
def test_a_wait_rests_until_its_time(params: dict[str, Any], due: Any) -> None:
    world = _world(_step("wait", params), comment(), payload={"cutoff": "2026-01-05T17:00:00Z"}).start()
    assert world.finished is Status.WAITING
    assert world.timers[("wait", "1")].due_at == due
    # when it comes, then the plan goes on
    assert world.due("1").finished is Status.RESOLVED
    assert world.done == ["1", "2"]


def test_a_time_that_is_none_is_told_with_its_step() -> None:
    with pytest.raises(PayloadInvalidError, match=r"step 1 \(wait\): `until` is not a time"):
        _world(_step("wait", {"until": "{{ exception.rawPayload.cutoff }}"}), payload={"cutoff": "soon"}).start()


def test_a_wait_for_an_event_is_over_when_the_signal_of_that_name_comes() -> None:
    wait = _step("wait", {"event": "carrier answered", "timeoutMinutes": 60}, key="carrier")
    world = _world(wait, comment("found {{ steps.carrier.output.depot }}")).start()
    assert (world.finished, world.timers[("step_timeout", "1")].due_at) == (Status.WAITING, NOON + timedelta(hours=1))
    # when another signal comes, then it goes on waiting
    world.signal("somebody else answered")
    assert (world.finished, world.types[-1]) == (Status.WAITING, "DuplicateIgnored")
    # when the signal comes
    world.signal("carrier answered", {"depot": "Ghent"})
    assert world.finished is Status.RESOLVED
    assert world.last("CommentAdded")["text"] == "found Ghent"


@pytest.mark.parametrize(
    ("step", "data"),
    [
        ({"step": "1", "kind": "wait"}, {}),
        ({"step": "2", "kind": "step_timeout"}, {}),
        ({"step": "7", "kind": "wait"}, {}),
        ({"step": "2", "kind": "wait"}, {"planId": "00000000-0000-0000-0000-000000000000"}),
    ],
)
def test_a_timer_that_is_out_of_date_leaves_the_exception_where_it_rests(
    step: dict[str, str], data: dict[str, str]
) -> None:
    world = _world(_step("wait", {"minutes": 1}), _step("wait", {"minutes": 1}), comment()).start().due("1")
    before = dict(world.record.step_results)
    world.due(**step, **data)
    assert (world.finished, world.types[-1]) == (Status.WAITING, "DuplicateIgnored")
    assert world.record.step_results == before


def test_a_timer_that_comes_after_the_end_changes_nothing() -> None:
    world = _world(_step("wait", {"minutes": 1})).start().due("1")
    assert world.finished is Status.RESOLVED
    assert world.due("1").finished is Status.RESOLVED


# persons


_FORM = {
    "type": "object",
    "properties": {"carrier": {"enum": ["A", "B"]}},
    "required": ["carrier"],
    "additionalProperties": False,
}


def test_a_persons_answer_fits_the_form_and_later_steps_read_it() -> None:
    ask = _step("manual", {"instructions": "Choose a carrier", "form": _FORM}, key="choice")
    world = _world(ask, _call("order", {"carrier": "{{ steps.choice.output.carrier }}"})).start()
    assert (world.finished, world.waits_for()) == (Status.PENDING_STEP, ["1"])
    with pytest.raises(PayloadInvalidError, match=r"output.carrier"):
        world.complete("1", output={"carrier": "C"})
    world.complete("1", output={"carrier": "B"})
    assert world.finished is Status.RESOLVED
    assert world.sent == [("2", {"carrier": "B"})]


def test_instructions_that_read_an_earlier_result_are_kept_for_the_person() -> None:
    ask = _step("manual", {"instructions": "Ring {{ steps.trace.output.phone }} about {exception.rawPayload.id}"})
    world = _world(_call("trace"), ask, payload={"id": "P-1"}, answer=_orders({"phone": "555"})).start()
    assert world.finished is Status.PENDING_STEP
    assert world.record.step_results["2"].output == {"parameters": {"instructions": "Ring 555 about P-1"}}


@pytest.mark.parametrize(("policy", "finished"), [(None, Status.ESCALATED), ("continue", Status.RESOLVED)])
@pytest.mark.parametrize("step", [_step("manual", {"instructions": "x"}), _step("wait", {"event": "e"}), prose()])
def test_a_step_that_takes_too_long_fails_as_it_says(
    step: dict[str, Any], policy: str | None, finished: Status
) -> None:
    own = {**step, "timeoutMinutes": 30} | ({"onFailure": policy} if policy else {})
    world = _world(own, comment()).start()
    assert world.timers[("step_timeout", "1")].due_at == NOON + timedelta(minutes=30)
    world.due("1", "step_timeout")
    assert world.finished is finished
    assert world.last("StepFailed")["error"] == "nothing came within 1800 seconds"


def test_only_the_step_that_waits_can_be_completed() -> None:
    world = _world(prose(), prose()).start()
    with pytest.raises(StepNotWaitingError, match="the plan waits for step 1"):
        world.complete("2")


# branches


@pytest.mark.parametrize(("days", "said"), [(9, "late"), (1, "fine"), (4, "middling")])
def test_a_branch_on_the_exception_alone_is_decided_when_the_plan_is_made(days: int, said: str) -> None:
    branch = _step(
        "branch",
        {
            "if": "rawPayload.days > 7",
            "then": [comment("late")],
            "arms": [{"if": "rawPayload.days > 3", "then": [comment("middling")]}],
            "else": [comment("fine")],
        },
    )
    world = _world(branch, payload={"days": days}).start()
    assert world.finished is Status.RESOLVED
    assert [event.data["text"] for event in world.events if event.type == "CommentAdded"] == [said]
    assert "days" not in str(to_document(world.plan))


@pytest.mark.parametrize(
    ("output", "done"),
    [
        ({"status": "LOST"}, ["1", "2.1.1", "2", "3"]),
        ({"status": "FOUND"}, ["1", "2.2.1", "2", "3"]),
        ({}, ["1", "2.2.1", "2", "3"]),
    ],
)
def test_a_branch_on_an_earlier_result_is_decided_when_its_turn_comes(output: Any, done: list[str]) -> None:
    branch = _step(
        "branch", {"if": "steps.trace.output.status == 'LOST'", "then": [_call("pay")], "else": [comment("well")]}
    )
    world = _world(_call("trace"), branch, comment("over"), answer=_orders(output, {})).start()
    assert (world.finished, world.done) == (Status.RESOLVED, done)


def test_a_branch_none_of_whose_arms_applies_is_passed_by() -> None:
    branch = _step("branch", {"if": "steps.trace.output.x == 1", "then": [_call("pay")]})
    assert _world(_call("trace"), branch, comment()).start().done == ["1", "2", "3"]


def test_a_plan_can_end_inside_a_branch() -> None:
    end = _step("set_status", {"status": "ESCALATED"}, name="lost for good")
    branch = _step("branch", {"if": "steps.trace.output.lost", "then": [end]})
    world = _world(_call("trace"), branch, _call("pay"), answer=_orders({"lost": True})).start()
    assert (world.finished, world.called) == (Status.ESCALATED, ["1"])


# conditions on results


@pytest.mark.parametrize(("output", "runs"), [({"n": 3}, True), ({"n": 1}, False), ({}, False)])
def test_a_condition_on_an_earlier_result_is_asked_when_the_steps_turn_comes(output: Any, runs: bool) -> None:
    steps = [_call("trace"), _call("pay", condition="steps.trace.output.n > 2 && rawPayload.vip")]
    world = _world(*steps, payload={"vip": True}, answer=_orders(output, {})).start()
    assert world.finished is Status.RESOLVED
    assert world.record.step_results["2"].state is (StepState.DONE if runs else StepState.SKIPPED)
    assert ("StepSkipped" in world.types) is not runs


# foreach


@pytest.mark.parametrize("parallel", [False, True])
def test_a_foreach_does_its_steps_for_every_item(parallel: bool) -> None:
    body = [
        _call("order", {"leg": "{{ item.id }}", "place": "{{ index }}", "of": "{exception.rawPayload.id}"}),
        comment("leg {{ item.id }} is {{ steps.order.output.status }}"),
    ]
    loop = _step(
        "foreach", {"items": "{{ exception.rawPayload.legs }}", "steps": body, "parallel": parallel}, key="all"
    )
    after = _call("pay", {"first": "{{ steps.all.output.0.order.status }}"})
    payload = {"id": "P-1", "legs": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}
    answer = _orders(*({"status": f"s{n}"} for n in range(3)), {})
    world = _world(loop, after, payload=payload, answer=answer).start()
    assert world.finished is Status.RESOLVED
    assert sorted(path for path, _ in world.sent) == ["1[0].1", "1[1].1", "1[2].1", "2"]
    assert {path: sent["leg"] for path, sent in world.sent if path != "2"} == {
        "1[0].1": "a",
        "1[1].1": "b",
        "1[2].1": "c",
    }
    first = next(n for n, (path, _) in enumerate(world.sent) if path == "1[0].1")
    assert world.sent[-1] == ("2", {"first": f"s{first}"})
    # and one after the other unless they go side by side
    answered = world.types.index("ToolExecutionCompleted")
    assert world.types[:answered].count("ToolExecutionRequested") == (3 if parallel else 1)


def test_a_foreach_over_an_earlier_result_keeps_the_items_it_found() -> None:
    loop = _step("foreach", {"items": "{{ steps.trace.output.legs }}", "steps": [_call("order", {"id": "{{ item }}"})]})
    answer = _orders({"legs": ["a", "b"]}, {}, {})
    world = _world(_call("trace"), loop, answer=answer).start()
    assert [sent for _, sent in world.sent] == [{}, {"id": "a"}, {"id": "b"}]
    assert world.record.step_results["2"].output == {"items": ["a", "b"]}


def test_a_foreach_over_nothing_is_over_at_once() -> None:
    loop = _step("foreach", {"items": [], "steps": [_call("order")]})
    assert _world(loop, comment()).start().done == ["1", "2"]


@pytest.mark.parametrize(("items", "message"), [([1, 2, 3], "3 items"), ("abc", "must be a list")])
def test_a_list_that_is_too_long_or_none_is_not_cut(items: Any, message: str) -> None:
    loop = _step("foreach", {"items": "{{ exception.rawPayload.legs }}", "max": 2, "steps": [comment()]})
    with pytest.raises(PayloadInvalidError, match=message):
        _world(loop, payload={"legs": items}).start()


# parallel


def test_arms_do_not_wait_for_one_another_and_the_join_waits_for_all() -> None:
    arms = [
        [_call("trace"), _call("order")],
        [prose("Ring the depot"), comment("rung")],
        [_step("wait", {"minutes": 5}), _call("pay")],
    ]
    world = _world(_step("parallel", {"branches": arms}), comment("joined")).start()
    # then the calls of the first arm are made while a person and a timer are waited for
    assert (world.finished, world.called) == (Status.PENDING_STEP, ["1.1.1", "1.1.2"])
    assert world.waits_for() == ["1.2.1", "1.3.1"]
    # when the person is done, then only the time is waited for
    assert world.complete("1.2.1").finished is Status.WAITING
    assert world.due("1.3.1").finished is Status.RESOLVED
    assert world.called == ["1.1.1", "1.1.2", "1.3.2"]
    assert world.last("CommentAdded")["text"] == "joined"


def test_calls_of_a_parallel_group_go_out_together() -> None:
    arms = [[_call("trace")], [_call("order")], [_call("pay")]]
    world = _world(_step("parallel", {"branches": arms})).start()
    asked = [type_ for type_ in world.types if type_ in ("ToolExecutionRequested", "ToolExecutionCompleted")]
    assert asked == ["ToolExecutionRequested"] * 3 + ["ToolExecutionCompleted"] * 3
    assert {event.data["stepOrder"] for event in world.events if event.type == "ToolExecutionRequested"} == {1}


# failure


def test_a_step_may_fail_and_later_steps_see_that() -> None:
    steps = [
        _call("trace", onFailure="continue"),
        _call("pay", condition="steps.trace.state == 'failed'"),
    ]
    world = _world(*steps, answer=lambda step, _: FAILS if step.path == "1" else {}).start()
    assert (world.finished, world.called) == (Status.RESOLVED, ["2"])
    assert world.last("ToolExecutionFailed")["onFailure"] == "continue"


def test_a_failure_that_escalates_undoes_nothing() -> None:
    steps = [_call("order", compensation=_call("undo")), _call("pay", onFailure="escalate")]
    world = _world(*steps, answer=lambda step, _: FAILS if step.path == "2" else {}).start()
    assert (world.finished, world.called) == (Status.ESCALATED, ["1"])
    assert world.last("ExceptionEscalated")["reason"] == "step 2 (pay) failed: refused"


def test_a_call_whose_failure_is_retried_is_left_to_the_dead_letters() -> None:
    world = _world(_call("pay"), answer=lambda *_: FAILS).start()
    assert world.failure is not None


_UNDOABLE = [
    _call("order", compensation=_call("undo", {"id": "{{ steps.order.output.id }}"})),
    _call("trace"),
    _step("manual", {"instructions": "Book it"}, compensation={"action": "Take it back"}, name="book"),
    _call("pay", onFailure="compensate"),
]


def _undoing(step: Any, _world: PlanWorld) -> Any:
    return FAILS if step.path == "4" else {"id": "O-1"}


def test_what_is_done_is_undone_the_last_first() -> None:
    world = _world(*_UNDOABLE, answer=_undoing).start().complete("3")
    # then the person takes back what a person did, and the tool what the tool did, with what it answered
    assert (world.finished, world.waits_for()) == (Status.PENDING_STEP, ["3/undo"])
    world.complete("3/undo")
    assert world.finished is Status.ESCALATED
    assert world.sent[-1] == ("1/undo", {"id": "O-1"})
    assert world.last("ExceptionEscalated")["compensated"] == ["3", "1"]


def test_a_compensation_that_fails_is_named() -> None:
    steps = [
        _call("trace", compensation=_call("undo")),
        _call("order", compensation=_call("undo")),
        _call("pay", onFailure="compensate"),
    ]
    world = _world(*steps, answer=lambda step, _: FAILS if step.path in ("3", "2/undo") else {}).start()
    assert (world.finished, world.called) == (Status.ESCALATED, ["1", "2"])
    told = world.last("ExceptionEscalated")
    assert told["compensationFailed"] == {"step": "2", "name": "undo", "error": "refused"}
    assert (told["compensated"], told["notCompensated"]) == ([], ["1"])
    assert "its compensation of step 2 failed too" in told["reason"]


def test_a_plan_is_given_up_only_when_nothing_is_under_way() -> None:
    # given a call that fails while another is under way
    arms = [[_call("order", compensation=_call("undo")), _call("trace")], [_call("pay", onFailure="compensate")]]
    world = _world(_step("parallel", {"branches": arms}), answer=lambda s, _: FAILS if s.name == "pay" else {}).start()
    assert [path for path, _ in world.sent][:2] == ["1.2.1", "1.1.1"]
    # then what it did is undone too, nothing new is begun, and it is given up once
    assert (world.finished, world.called) == (Status.ESCALATED, ["1.1.1", "1.1.1/undo"])
    assert world.types.count("ExceptionEscalated") == 1


def test_a_step_that_could_not_be_opened_is_opened_after_the_redrive() -> None:
    # given a condition that cannot be evaluated over what the tool answered
    steps = [_call("trace"), comment("now", condition="steps.trace.output.n > 2")]
    world = _world(*steps, answer=lambda *_: {"n": "many"}).start()
    assert isinstance(world.failure, ConditionFailedError)
    assert world.types.count("StepExecutionRequested") == 1
    # when the cause is gone and the exception comes again
    corrected = replace(world.record.step_results["1"], output={"n": 3})
    world.record = replace(world.record, step_results={"1": corrected})
    world.redeliver()
    assert (world.finished, world.types.count("StepExecutionRequested")) == (Status.RESOLVED, 2)


# effects that nobody knows


@pytest.mark.parametrize(
    ("verdict", "finished", "called"),
    [("done", Status.RESOLVED, ["2"]), ("not_done", Status.ESCALATED, []), ("resend", Status.RESOLVED, ["1", "2"])],
)
def test_a_person_says_what_became_of_a_call(verdict: str, finished: Status, called: list[str]) -> None:
    answers = _orders(UNKNOWN, {"id": 1}, {})
    world = _world(_call("pay"), _call("order"), answer=answers).start()
    assert (world.finished, world.waits_for()) == (Status.PENDING_STEP, ["1"])
    assert world.record.step_results["1"].state is StepState.UNKNOWN
    world.answer = lambda *_: {}
    world.resolve("1", verdict, comment="looked")
    assert (world.finished, world.called) == (finished, called)
    # and a second verdict changes nothing
    assert world.resolve("1", verdict).finished is finished
    assert world.types[-1] == "DuplicateIgnored"


def test_an_unknown_effect_in_one_arm_does_not_keep_the_others_from_going_on() -> None:
    arms = [[_call("pay")], [_call("order"), _call("trace")]]
    world = _world(
        _step("parallel", {"branches": arms}), answer=lambda s, _: UNKNOWN if s.name == "pay" else {}
    ).start()
    assert (world.finished, world.called) == (Status.PENDING_STEP, ["1.2.1", "1.2.2"])


# templates


def test_what_a_result_does_not_have_is_told_with_step_and_expression() -> None:
    world = _world(_call("trace"), _call("pay", {"id": "{{ steps.trace.output.id }}"}), answer=lambda *_: {}).start()
    assert isinstance(world.failure, TemplateUnresolvedError)
    assert "step 2 (pay): {{ steps.trace.output.id }}" in str(world.failure)
    # and the answer that was there is not lost
    assert world.record.step_results["1"].state is StepState.DONE


def test_a_payload_that_looks_like_a_reference_is_sent_as_it_is() -> None:
    odd = {"$ref": "steps.trace.output.id"}
    parameters = {"odd": "{{ exception.rawPayload.odd }}", "id": "{{ steps.trace.output.id }}"}
    world = _world(
        _call("trace"), _call("pay", parameters), payload={"odd": odd}, answer=_orders({"id": 7}, {})
    ).start()
    assert world.sent[-1] == ("2", {"odd": odd, "id": 7})


def test_a_notification_is_a_call() -> None:
    params = {
        "channel": "webhook",
        "url": "https://hooks.example/x",
        "signingSecret": "secret://env/HOOK",
        "text": "{exception.rawPayload.id}: {{ steps.trace.output.status }}",
    }
    world = _world(_call("trace"), _step("notify", params), payload={"id": "P-1"}, answer=_orders({"status": "ok"}, {}))
    assert world.start().finished is Status.RESOLVED
    assert world.sent[-1][1]["text"] == "P-1: ok"
