"""What hangs on a decision goes into lists of rows: the last word on a step counts, and large outputs are set apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from service.domain.plans import StepRecord, StepState, Timer
from service.engine.decisions import encode_steps, encode_timers
from service.engine.outputs import INLINE_LIMIT_BYTES, REFERENCE

PLAN = uuid4()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def decision() -> dict[str, Any]:
    return {"id": uuid4(), "sequence": 3}


def test_of_a_step_recorded_twice_in_a_turn_the_last_word_counts() -> None:
    # given a wait that began and ended in one turn
    given = decision()
    encode_steps(given, PLAN, [StepRecord("1", StepState.STARTED), StepRecord("1", StepState.DONE, by="ann", number=2)])
    # then one row says that it is over: a statement cannot change a row twice
    assert given["steps"] == [
        {"id": given["id"], "plan_id": PLAN, "path": "1", "state": "done", "by": "ann", "number": 2}
    ]


def test_what_the_ledger_keeps_is_not_kept_twice() -> None:
    given = decision()
    encode_steps(given, PLAN, [StepRecord("1", StepState.DONE, {"a": 1}), StepRecord("2", StepState.DONE, 5)], ["1"])
    assert [row.get("output") for row in given["steps"]] == [None, 5]


def test_a_large_answer_of_a_person_is_kept_by_reference() -> None:
    given = decision()
    large = {"text": "x" * INLINE_LIMIT_BYTES}
    encode_steps(given, PLAN, [StepRecord("1", StepState.DONE, large, by="ann")])
    (answer,) = given["answers"]
    assert (answer["id"], answer["document"]) == (given["id"], large)
    assert given["steps"][0]["output"][REFERENCE] == answer["result_id"]


def test_what_the_plan_decided_stands_with_its_step_however_large() -> None:
    given = decision()
    items = {"items": ["x" * INLINE_LIMIT_BYTES]}
    encode_steps(given, PLAN, [StepRecord("1", StepState.STARTED, items)])
    assert given["steps"][0]["output"] == items
    assert "answers" not in given


def test_a_decision_without_steps_has_no_rows_of_steps() -> None:
    given = decision()
    encode_steps(given, PLAN, [])
    assert "steps" not in given


def test_of_a_timer_set_twice_the_last_counts() -> None:
    later = NOW.replace(hour=5)
    rows = encode_timers(uuid4(), PLAN, [Timer("wait", "1", NOW), Timer("wait", "2", NOW), Timer("wait", "1", later)])
    assert [(row["step"], row["due_at"]) for row in rows] == [("1", later), ("2", NOW)]
