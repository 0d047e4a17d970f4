"""How conditions end, and that answering without CEL never gives another answer than CEL would."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import cel
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.conditions import LONGEST_CONDITION, Situation, Verdict, compile_condition, keys_read, unknown_names
from service.domain.errors import ConditionFailedError
from tests.unit.domain.given import NOON, exception


def _judge(source: str, payload: dict[str, Any] | None = None, exception_type: str = "LATE") -> Verdict:
    condition = compile_condition(source, "severityRules[2].condition")
    record = exception(exception_type, payload or {}, entity="Parcel")
    deadline = NOON + timedelta(minutes=90)
    now = NOON + timedelta(minutes=30)
    return condition.judge(Situation(record, now, exception_type, "HIGH", deadline, keys_read([condition])))


@pytest.mark.parametrize(
    "source",
    [
        "exceptionType == 'LATE'",
        "exceptionType in ['LOST', 'LATE'] && rawPayload.days > 2",
        "rawPayload.days > 2.5 && severity == 'HIGH'",
        "sourceSystem == 'ledger' && tenantId == 'ACME' && entity == 'Parcel'",
        "ageMinutes == 30.0 && slaMinutesRemaining == 60.0",
        "size(policyTags) == 0",
        "rawPayload.legs.exists(leg, leg.late)",
        "has(rawPayload.days) && !has(rawPayload.nothing)",
        "rawPayload.nothing == 1 || rawPayload.days == 3",
        "size(rawPayload) == 2",
    ],
)
def test_a_condition_sees_the_exception(source: str) -> None:
    assert _judge(source, {"days": 3, "legs": [{"late": False}, {"late": True}]}) is Verdict.MATCHES


@pytest.mark.parametrize(
    "source",
    [
        "rawPayload.impact == 'ECONOMIC'",
        "exceptionType == 'LATE' && rawPayload.impact == 'ECONOMIC'",
        "!(rawPayload.impact == 'ECONOMIC')",
        "rawPayload.address.city == 'Bern'",
        "rawPayload['impact'] == 1",
        "rawPayload.legs[3] == 1",
        "has(rawPayload.address.city)",
    ],
)
def test_an_absent_field_makes_the_rule_not_match_and_can_be_counted(source: str) -> None:
    assert _judge(source, {"legs": []}) is Verdict.ABSENT


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("rawPayload.days > 'two'", "types"),
        ("rawPayload.empty > 1", "types"),
        ("nosuch(rawPayload)", "nosuch"),
        ("weather == 'rain'", "weather"),
        ("rawPayload.days / 0 == 1", "division by zero"),
        ("int(rawPayload.text) == 1", "function 'int'"),
        ("rawPayload.days", "not true or false"),
        ("rawPayload.days + 9223372036854775807 > 1", "too large"),
    ],
)
def test_any_other_failure_fails_the_exception_and_names_the_rule(source: str, reason: str) -> None:
    payload = {"days": 3, "empty": None, "text": "secret words"}
    # when the condition cannot be evaluated
    with pytest.raises(ConditionFailedError, match=reason) as failure:
        _judge(source, payload)
    # then the message names the rule and the condition, and no value of the payload
    assert "severityRules[2].condition" in str(failure.value)
    assert repr(source) in str(failure.value)
    assert "secret" not in str(failure.value)


def test_a_condition_for_another_type_is_answered_without_evaluating_it() -> None:
    # given a condition that would fail if it were evaluated
    source = "exceptionType == 'LOST' && nosuch(1)"
    # then it fails the type it is for, and only that
    assert _judge(source, exception_type="LATE") is Verdict.DIFFERS
    with pytest.raises(ConditionFailedError):
        _judge(source, exception_type="LOST")


@pytest.mark.parametrize("source", ["", "1 +", "a == 'b", "x &&& y"])
def test_what_is_not_cel_does_not_compile(source: str) -> None:
    with pytest.raises(ValueError, match=r"not a CEL expression: line 1, column \d+"):
        compile_condition(source, "")


def test_a_condition_long_enough_to_overflow_the_library_is_refused() -> None:
    with pytest.raises(ValueError, match=str(LONGEST_CONDITION)):
        compile_condition("true && " * 20_000 + "true", "")


def test_only_the_fields_that_a_condition_reads_cost_anything() -> None:
    # given a payload with something that CEL could not even hold
    payload = {"days": 3, "unread": object()}
    # then a condition that does not read it is not troubled, and one that reads everything is
    assert _judge("rawPayload.days == 3", payload) is Verdict.MATCHES
    with pytest.raises(ConditionFailedError):
        _judge("size(rawPayload) == 2", payload)


def test_names_that_no_exception_has_are_found_when_the_pack_is_read() -> None:
    condition = compile_condition("lower(weather) == 'x' && rawPayload.legs.all(leg, leg.ok) && size('a') == 1", "")
    assert unknown_names(condition) == ["variable 'weather'", "function 'lower'"]


_atoms = st.sampled_from(
    [
        "exceptionType == 'A'",
        "'B' == exceptionType",
        'exceptionType == "A"',
        "exceptionType in ['A', 'C']",
        "(exceptionType == 'B')",
        "exceptionType != 'A'",
        "rawPayload.x == 1",
        "rawPayload.absent == 1",
        "has(rawPayload.x)",
        "rawPayload.text == \"exceptionType == 'A'\"",
        "rawPayload.list.exists(x, x == 2)",
        "rawPayload.exists(key, key == 'x')",
        "rawPayload['x'] == 1",
        "size(rawPayload) == 3",
        "true",
        "false",
    ]
)
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(" ".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"!({text})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]}) ? ({parts[1]}) : ({parts[2]})"),
    ),
    max_leaves=6,
)


@given(source=_conditions, exception_type=st.sampled_from(["A", "B", "C", "D"]), has_x=st.booleans())
@example(source="exceptionType == 'A' || rawPayload.x == 1", exception_type="B", has_x=True)
@example(source="exceptionType == 'A' && false || true", exception_type="B", has_x=True)
@example(source="rawPayload.absent == 1 && exceptionType == 'A'", exception_type="B", has_x=True)
def test_shortcuts_never_change_the_answer(source: str, exception_type: str, has_x: bool) -> None:
    payload = {"text": "A", "list": [1, 2], **({"x": 1} if has_x else {})}
    assert _judge(source, payload, exception_type) is _by_cel_alone(source, payload, exception_type)


def _by_cel_alone(source: str, payload: dict[str, Any], exception_type: str) -> Verdict:
    try:
        result = cel.compile(source).execute({"exceptionType": exception_type, "rawPayload": payload})
    except LookupError:
        return Verdict.ABSENT
    return Verdict.MATCHES if result else Verdict.DIFFERS
