"""Asking conditions together finds what asking them one by one finds, and fails where that fails."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.conditions import Condition, Situation, Verdict, compile_condition
from service.domain.errors import ConditionFailedError
from service.domain.selection import MOST_SHAPES, TOGETHER, Selected, Selection
from tests.unit.domain.given import NOON, exception

_SOURCES = st.sampled_from(
    [
        "exceptionType == 'LATE'",
        "rawPayload.x == 1",
        "rawPayload.x == 2 // two",
        "rawPayload.absent == 1",
        "rawPayload.absent == 1 && rawPayload.x == 1",
        "exceptionType == 'LATE' && rawPayload.absent.deep < 3 && rawPayload.gone in ['a', 'b']",
        "rawPayload.absent == 1 || rawPayload.x == 1",
        "rawPayload.x > 5 && rawPayload.text == 'a'",
        "has(rawPayload.x) && rawPayload.x > 5",
        "rawPayload.text == ') ? 0 : ('",
        "rawPayload.x > 'one'",
        "rawPayload.x",
        "nosuch(1)",
        "false",
        "true",
        "rawPayload.text == 'a' ? rawPayload.x == 3 : false",
    ]
)


def _conditions(sources: list[str]) -> list[Condition]:
    return [compile_condition(source, f"severityRules[{index}].condition") for index, source in enumerate(sources)]


def _situation(payload: dict[str, Any], selection: Selection) -> Situation:
    return Situation(exception("LATE", payload), NOON, "LATE", None, NOON, selection.reads)


def _one_by_one(conditions: list[Condition], situation: Situation) -> Selected:
    absent: list[int] = []
    for position, condition in enumerate(conditions):
        verdict = condition.judge(situation)
        if verdict is Verdict.MATCHES:
            return Selected(position, tuple(absent))
        if verdict is Verdict.ABSENT:
            absent.append(position)
    return Selected(None, tuple(absent))


@given(sources=st.lists(_SOURCES, max_size=20), x=st.none() | st.integers(0, 9))
def test_conditions_for_every_type_are_asked_of_every_type(sources: list[str], x: int | None) -> None:
    conditions = _conditions([source for source in sources if "nosuch" not in source and "'one'" not in source])
    selection = Selection.of(conditions, any_type=True)
    situation = Situation(exception("OTHER", {"x": x}), NOON, "OTHER", None, NOON, selection.reads)
    try:
        expected = _one_by_one(conditions, situation)
    except ConditionFailedError:
        return
    # asked twice, because the second time the payload's shape is known
    assert [selection.first_match(situation), selection.first_match(situation)] == [expected, expected]


def test_payloads_of_ever_new_shapes_are_asked_all_the_same() -> None:
    conditions = _conditions([f"rawPayload.f{number} == 1" for number in range(40)])
    selection = Selection.of(conditions)
    for number in range(40):
        found = selection.first_match(_situation({f"f{number}": 1}, selection))
        assert found == Selected(number, tuple(range(number)))
    # and programs are not kept for all of them: a source cannot fill the memory with shapes
    assert len(selection._courses) == MOST_SHAPES


@given(
    sources=st.lists(_SOURCES, max_size=2 * TOGETHER + 3) | st.lists(st.just("rawPayload.x == 9"), max_size=40),
    payload=st.fixed_dictionaries({}, optional={"x": st.integers(0, 9), "text": st.sampled_from(["a", ") ? 0 : ("])}),
)
def test_together_finds_what_one_by_one_finds(sources: list[str], payload: dict[str, Any]) -> None:
    conditions = _conditions(sources)
    selection = Selection.of(conditions)
    situation = _situation(payload, selection)
    try:
        expected = _one_by_one(conditions, situation)
    except ConditionFailedError as failure:
        with pytest.raises(ConditionFailedError) as told:
            selection.first_match(situation)
        assert str(told.value) == str(failure)
    else:
        assert selection.first_match(situation) == expected


@pytest.mark.parametrize("wanted", [0, TOGETHER - 1, TOGETHER, 3 * TOGETHER + 1])
def test_the_first_of_many_is_found(wanted: int) -> None:
    selection = Selection.of(_conditions([f"rawPayload.x == {number}" for number in range(4 * TOGETHER)]))
    assert selection.first_match(_situation({"x": wanted}, selection)) == Selected(wanted)


def test_nothing_to_ask_is_nothing_found() -> None:
    selection = Selection.of([])
    assert not selection
    assert selection.first_match(_situation({}, selection)) == Selected(None)
