"""What a body may be, without a server."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.limits import MAX_DEPTH, MAX_KEYS, check_structure, parse
from service.api.problems import ProblemError

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=30
)


def depth(value: Any) -> int:
    """Containers within containers, told the slow way."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(keys, value.values()))
    return sum(map(keys, value)) if isinstance(value, list) else 0


@given(values)
def test_whatever_postgresql_can_keep_comes_through_as_it_was(value: Any) -> None:
    parsed = parse(orjson.dumps(value))
    parsed.check(parsed.value)
    assert parsed.value == value


@given(values, st.integers(0, 40))
def test_depth_is_what_it_is_told_to_be(value: Any, more: int) -> None:
    for level in range(more):
        value = [value] if level % 2 else {"n": value}
    allowed = depth(value) <= MAX_DEPTH
    try:
        check_structure(value)
    except ProblemError as problem:
        assert not allowed
        assert problem.kind.status == 422
    else:
        assert allowed


@given(st.integers(MAX_KEYS - 3, MAX_KEYS + 3), st.booleans())
def test_keys_are_counted_on_every_level(number: int, spread: bool) -> None:
    value: Any = {f"k{n}": 1 for n in range(number)}
    if spread:
        value = [{"a": {f"k{n}": 1 for n in range(half)}} for half in (number // 2, number - number // 2 - 2)]
    assert keys(value) == number
    if number <= MAX_KEYS:
        check_structure(value)
    else:
        with pytest.raises(ProblemError):
            check_structure(value)


@given(values)
def test_a_nul_anywhere_is_found(value: Any) -> None:
    parsed = parse(orjson.dumps({"outside": value, "inside": [{"a\x00": value}]}))
    with pytest.raises(ProblemError) as caught:
        parsed.check(parsed.value)
    assert [fault.path for fault in caught.value.faults] == ["inside[0]['a\\x00']"]


def test_what_only_looks_like_a_nul_is_none() -> None:
    parsed = parse(rb'{"path": "C:\\u0000"}')
    parsed.check(parsed.value)
    assert parsed.value == {"path": r"C:\u0000"}


@given(st.integers(2**64, 2**200) | st.integers(-(2**200), -(2**63) - 1))
def test_an_integer_that_would_be_rounded_is_refused_with_its_place(number: int) -> None:
    parsed = parse(b'{"a": [1, %d]}' % number)
    with pytest.raises(ProblemError) as caught:
        parsed.check(parsed.value)
    assert [fault.path for fault in caught.value.faults] == ["a[1]"]


@given(st.binary(max_size=60))
def test_no_bytes_are_more_than_refused(body: bytes) -> None:
    try:
        parsed = parse(body)
        parsed.check(parsed.value)
    except ProblemError as problem:
        assert problem.kind.status in (400, 422)


def test_of_a_repeated_key_the_last_value_counts() -> None:
    assert parse(b'{"a": 1, "a": 2}').value == {"a": 2}
