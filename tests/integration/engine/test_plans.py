"""Plans on a real database: calls at once, failures, doubt, large results; and workers killed at every moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from service.domain.exceptions import InputType
from service.domain.plans import OnFailure
from service.engine import turns
from service.engine.batch import Batch
from service.engine.course import Flight
from service.engine.failures import ToolUnavailableError
from service.engine.flights import CALLS_AT_ONCE
from service.engine.results import Retry
from service.persistence.database import DatabaseUnavailableError
from service.persistence.unit_of_work import unit_of_work
from service.tools.calls import Answer, ToolResult
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.plans import AGAIN, ONCE, World, call, confirmed
from tests.integration.verdicts import broken_promises

pytestmark = pytest.mark.stack


@contextmanager
def _away(_engine: Any, _tenants: Any = ()) -> Iterator[Any]:
    raise DatabaseUnavailableError("test")
    yield


def parallel(order: int, *branches: list[dict[str, Any]]) -> dict[str, Any]:
    return {"step_order": order, "name": "both", "action_type": "parallel", "params": {"branches": list(branches)}}


GROUP = [
    parallel(
        1,
        [call(1, ONCE, "first"), call(2, AGAIN, "second", {"after": "{{ steps.first.output.of }}"})],
        [call(1, AGAIN, "third")],
        [call(1, ONCE, "fourth")],
    ),
    call(2, ONCE, "last", {"all": "{{ steps.fourth.output.of }} {{ steps.second.output.of }}"}),
]
"""Two tools at once that work every call, one after another of them, and one call that needs all their answers."""

ALL = ("1.1.1", "1.1.2", "1.2.1", "1.3.1", "2")
"""The paths of its calls."""


def test_a_worker_killed_at_any_moment_of_a_group_changes_nothing_about_its_end(world: MakeWorld) -> None:
    # given how many moments a run has in which nobody dies, and how it ends
    calm = world(GROUP, random=Random(7))
    end = calm.status(calm.worked_out(calm.planned()))
    assert (end, len(calm.worked)) == ("RESOLVED", 5)
    for moment in range(calm.moments()):
        # when the worker is killed at one of them, answers come together as a seed says, and a person says the truth
        one = World(calm.application, calm.system, calm.tenant, random=Random(moment), dies_at=moment)
        rests = one.worked_out(one.planned())
        # then it ends as it would have: every effect happened once, every step is recorded and asked for once
        assert one.status(rests) == "RESOLVED", moment
        assert sorted(one.worked) == sorted(set(one.worked)), f"a tool worked a call twice: moment {moment}"
        assert len(one.worked) == 5, moment
        recorded = one.rows(
            "SELECT step, state FROM plan_steps WHERE plan_id IN (SELECT plan_id FROM plans WHERE {own})", rests
        )
        assert {tuple(row) for row in recorded} >= {(path, "done") for path in ALL}, moment
        requested = one.rows("SELECT data FROM events WHERE {own} AND type = 'StepExecutionRequested'", rests)
        paths = [row[0].get("step", str(row[0]["stepOrder"])) for row in requested]
        assert sorted(paths) == sorted(["1", *ALL, *one.resent]), f"a step was asked for twice: moment {moment}"
        answered = one.rows("SELECT data FROM events WHERE {own} AND type = 'ToolExecutionCompleted'", rests)
        assert len(answered) == len({row[0].get("step", "2") for row in answered}), f"written down twice: {moment}"
    with unit_of_work(calm.system) as transaction:
        broken = broken_promises(transaction, calm.tenant.tenant_id)
    broken.pop("worked twice", None)  # counts completed calls by exception; a plan of five has five
    assert broken == {}


@pytest.mark.parametrize(
    ("on_failure", "ends"),
    [(OnFailure.CONTINUE, "RESOLVED"), (OnFailure.ESCALATE, "ESCALATED"), (OnFailure.COMPENSATE, "ESCALATED")],
)
@pytest.mark.parametrize("answer", [Answer.PERMANENT, Answer.TRANSIENT])
def test_a_call_that_failed_for_good_is_followed_by_what_its_plan_says(
    world: MakeWorld, on_failure: OnFailure, ends: str, answer: Answer
) -> None:
    # given a plan whose second call fails: it is refused, or its tries are used up
    undo = {"name": "undo it", "action_type": "call_tool", "params": {"tool": AGAIN, "parameters": {}}}
    steps = [call(1, AGAIN, "first", compensation=undo), call(2, AGAIN, "second", onFailure=on_failure.value)]
    one = world([*steps, call(3, AGAIN, "third")])

    def script(flight: Flight, _times: int) -> ToolResult:
        return ToolResult(flight.key, answer, error="no") if flight.step.path == "2" else confirmed(flight)

    one.script = script
    reference = one.planned()
    # when it is worked, and given up where it would be tried again
    back = one.delivered(reference)
    assert len(back.retries) == (answer is Answer.TRANSIENT)
    if back.retries:
        for onward in one.turns.give_up(back.retries).onward:
            one.delivered(onward)
    # then the plan has gone on, ended, or undone what it had done
    assert one.status(reference) == ends
    third_or_undo = {OnFailure.CONTINUE: {"3"}, OnFailure.ESCALATE: set(), OnFailure.COMPENSATE: {"1/undo"}}
    called = {row[0] for row in one.rows("SELECT step FROM tool_executions WHERE {own}")}
    assert called == {"1", "2"} | third_or_undo[on_failure]
    assert one.rows("SELECT state FROM tool_executions WHERE {own} AND step = '2'")[0][0] == "failed"


def test_a_plan_that_is_given_up_waits_for_the_calls_that_are_out(world: MakeWorld) -> None:
    # given two calls at once, one of which fails for good while the other is still out
    one = world([parallel(1, [call(1, AGAIN, "first", onFailure="escalate")], [call(1, ONCE, "second")])])
    reference = one.planned()
    first, second = one.turns.start(Batch.single(reference)).flights
    one.turns.land([(first, ToolResult(first.key, Answer.PERMANENT, error="no"))])
    # then the exception is not at its end yet
    assert one.status(reference) == "IN_PROGRESS"
    # when the other's answer comes
    one.turns.land([(second, confirmed(second))])
    # then it counts, and the plan is given up
    assert one.status(reference) == "ESCALATED"
    assert [data["step"] for _, data in one.events("ToolExecutionCompleted")] == ["1.2.1"]


def test_without_a_word_on_failure_a_call_that_was_given_up_is_dead_lettered(world: MakeWorld) -> None:
    # given a call that its tool never works
    one = world([call(1, AGAIN, "first")], script=lambda f, _: ToolResult(f.key, Answer.TRANSIENT, error="busy"))
    reference = one.planned()
    (retry,) = one.delivered(reference).retries
    assert (retry.policy and retry.policy.max_retries, retry.step, retry.tool) == (2, "1", AGAIN)
    # when its tries are used up
    assert one.turns.give_up([retry]).onward == ()
    # then the exception is dead-lettered with what the tool said
    assert one.status(reference) == "DEAD_LETTERED"
    assert "busy" in one.rows("SELECT message FROM dead_letters WHERE {own}")[0][0]


def test_a_call_in_doubt_waits_with_the_evidence_and_a_person_says_what_became_of_it(world: MakeWorld) -> None:
    # given a tool that works every call and does not answer the first
    def script(flight: Flight, times: int) -> ToolResult:
        if times == 1:
            return ToolResult(flight.key, Answer.UNANSWERED, error="connection reset")
        return confirmed(flight)

    one = world([call(1, ONCE, "first"), call(2, AGAIN, "second", {"got": "{{ steps.first.output.of }}"})])
    one.script = script
    reference = one.planned()
    one.delivered(reference)
    # then it waits for a person, and says what went out when and what is known
    assert one.status(reference) == "PENDING_STEP"
    (row,) = one.rows("SELECT state, attempt, sent_at, error FROM tool_executions WHERE {own}")
    assert (row.state, row.attempt, row.error) == ("unknown", 1, "connection reset")
    assert row.sent_at is not None
    # when the person has it sent once more
    later = one.told(reference, InputType.EFFECT_RESOLVED, {"step": "1", "verdict": "resend", "comment": "lost"})
    one.script = lambda flight, _: confirmed(flight)
    one.delivered(later)
    # then it goes out under the same key, and the plan goes on
    assert one.status(reference) == "RESOLVED"
    assert [r.attempt for r in one.rows("SELECT attempt FROM tool_executions WHERE {own} ORDER BY step")] == [2, 1]


def test_a_large_answer_is_kept_once_and_later_steps_read_all_of_it(world: MakeWorld) -> None:
    # given a tool that answers 200 KB, and a later step that needs its last word
    seen: list[Any] = []

    def script(flight: Flight, _times: int) -> ToolResult:
        seen.append(dict(flight.call.parameters))
        large = {"pages": ["x" * 1000] * 200, "last": "word"}
        return confirmed(flight, large if flight.step.path == "1" else None)

    steps = [call(1, AGAIN, "first"), call(2, AGAIN, "second", {"last": "{{ steps.first.output.last }}"})]
    one = world(steps, script=script)
    # when the worker dies after the answer was written down, and the plan is carried on by another
    reference = one.planned()
    one.dies_at = 5
    one.worked_out(reference)
    # then the answer stands in one row, a reference to it with the effect, and the later call had the word
    assert one.status(reference) == "RESOLVED"
    assert seen[-1] == {"last": "word"}
    ((size,),) = one.rows("SELECT bytes FROM tool_results WHERE {own}")
    assert size > 200_000
    output = one.rows("SELECT output FROM tool_executions WHERE {own} AND step = '1'")[0][0]
    assert output["bytes"] == size
    assert len(str(output)) < 1000
    completed = one.events("ToolExecutionCompleted")
    assert all(len(str(data)) < 2000 for _, data in completed)


def test_an_answer_that_looks_like_a_reference_leads_to_no_other_result(world: MakeWorld) -> None:
    # given an exception with a large result, and another of the same tenant whose tool answers a reference to it
    steps = [call(1, AGAIN, "first"), call(2, AGAIN, "second", {"got": "{{ steps.first.output }}"})]
    one = world(steps, script=lambda flight, _: confirmed(flight, {"pages": "y " * 10_000}))
    one.worked_out(one.planned())
    theirs = one.rows("SELECT result_id FROM tool_results WHERE {own}")[0][0]
    forged = {"$result": str(theirs), "bytes": 1, "beginning": ""}
    seen: list[Any] = []

    def script(flight: Flight, _times: int) -> ToolResult:
        seen.append(dict(flight.call.parameters))
        return confirmed(flight, forged)

    one.script = script
    # when its worker dies and the plan is carried on by another delivery, which reads references
    one.dies_at = one.moments() + 5
    one.worked_out(one.planned())
    # then it reads what its tool answered and nothing else
    assert one.dies_at is None, "nobody died"
    assert seen[-1] == {"got": forged}


def test_a_long_list_that_an_earlier_call_answered_is_worked_by_another_delivery_too(world: MakeWorld) -> None:
    # given a call that answers thirty items of 1 KB, and a call for each, one after the other
    def script(flight: Flight, _times: int) -> ToolResult:
        return confirmed(flight, {"items": ["x" * 1000] * 30} if flight.step.path == "1" else None)

    each = {"items": "{{ steps.first.output.items }}", "steps": [call(1, AGAIN, "one", {"item": "{{ item }}"})]}
    step = {"step_order": 2, "name": "each", "action_type": "foreach", "params": each}
    one = world([call(1, AGAIN, "first"), step], script=script)
    # when the worker dies in between
    one.dies_at = 30
    reference = one.worked_out(one.planned())
    # then every item is worked
    assert one.dies_at is None, "nobody died"
    assert one.status(reference) == "RESOLVED"
    assert len(one.events("ToolExecutionCompleted")) == 31


def test_a_call_whose_process_was_gone_before_an_answer_is_repeated_in_a_delivery_of_its_own(world: MakeWorld) -> None:
    # given two calls of one delivery that went out, and nobody is left to hear of them
    one = world([call(1, AGAIN, "first")])
    batch = Batch((one.planned(), one.planned()))
    assert len(one.turns.start(batch).flights) == 2
    one.now += timedelta(minutes=10)
    # when they come again in company
    again = one.turns.start(batch)
    # then neither goes out, for one of them may have ended that process: both come back alone, at once, uncounted
    assert again.flights == ()
    assert {retry.reference for retry in again.retries} == set(batch.references)
    assert [(retry.counts, retry.due_in_seconds) for retry in again.retries] == [(False, 0.0)] * 2
    # and alone they go out
    (flight,) = one.turns.start(Batch.single(batch.references[0])).flights
    assert (flight.attempt, flight.unanswered) == (2, True)


def test_an_answer_to_an_attempt_that_another_delivery_repeated_moves_nothing(world: MakeWorld) -> None:
    # given a call that went out, and went out again in another delivery because its lease was over
    one = world([call(1, AGAIN, "first"), call(2, AGAIN, "second")])
    reference = one.planned()
    batch = Batch.single(reference)
    (lost,) = one.turns.start(batch).flights
    one.now += timedelta(minutes=10)
    (again,) = one.turns.start(batch).flights
    assert (lost.key, lost.attempt, again.attempt) == (again.key, 1, 2)
    # when the first attempt's answer comes after all
    late = one.turns.land([(lost, confirmed(lost))])
    # then it moves nothing, and the second's answer does
    assert late.flights == ()
    assert one.events("ToolExecutionCompleted") == []
    assert [flight.step.path for flight in one.turns.land([(again, confirmed(again))]).flights] == ["2"]


def test_a_hundred_items_at_once_go_out_in_turns_and_all_of_them_come_back(world: MakeWorld) -> None:
    # given a call for each of a hundred items, all at once, one of which is only worked at the second try
    each = {"items": list(range(100)), "parallel": True, "steps": [call(1, AGAIN, "one", {"item": "{{ item }}"})]}
    step = {"step_order": 1, "name": "each", "action_type": "foreach", "params": each}

    def script(flight: Flight, times: int) -> ToolResult:
        if flight.call.parameters["item"] == 17 and times == 1:
            return ToolResult(flight.key, Answer.TRANSIENT, error="busy")
        return confirmed(flight)

    one = world([step], script=script, random=Random(3))
    reference = one.planned()
    # when it is delivered, and once more for what failed
    back = one.delivered(reference)
    assert [retry.step is not None for retry in back.retries] == [True]
    one.delivered(reference)
    # then every item was worked once, and no more were under way together than may be
    assert one.status(reference) == "RESOLVED"
    assert len(one.worked) == len(set(one.worked)) == 100
    assert one.most_out <= CALLS_AT_ONCE
    assert len(one.events("ToolExecutionCompleted")) == 100


def test_an_answer_can_be_written_down_once_the_database_is_back(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given as many calls as may be out together, answered while the database is away
    each = {"items": list(range(100)), "parallel": True, "steps": [call(1, AGAIN, "one", {"item": "{{ item }}"})]}
    one = world([{"step_order": 1, "name": "each", "action_type": "foreach", "params": each}])
    started = one.turns.start(Batch.single(one.planned()))
    answers = [(flight, confirmed(flight)) for flight in started.flights]
    with monkeypatch.context() as patch:
        patch.setattr(turns, "unit_of_work", _away)
        with pytest.raises(DatabaseUnavailableError):
            one.turns.land(answers)
    # when the same answers are written down later
    landed = one.turns.land(answers)
    # then all of them count, and the next ones go out in their places
    assert len(one.events("ToolExecutionCompleted")) == len(landed.flights) == CALLS_AT_ONCE
    assert not {flight.key for flight in landed.flights} & {flight.key for flight in started.flights}


def test_a_zombie_gives_nothing_up(world: MakeWorld) -> None:
    # given an exception that was resolved after its call had failed once
    one = world([call(1, AGAIN, "first", onFailure="continue")])
    reference = one.planned()
    one.delivered(reference)
    before = one.rows("SELECT status, position FROM exceptions WHERE {own}")
    # when a delivery that still knows of the failure gives the call up
    late = Retry(reference, ToolUnavailableError("busy"), step="1", tool=AGAIN)
    # then nothing happens
    assert one.turns.give_up([late]).onward == ()
    assert one.rows("SELECT status, position FROM exceptions WHERE {own}") == before
