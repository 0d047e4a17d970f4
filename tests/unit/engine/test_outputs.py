"""Large outputs are referred to, and only what is exactly a reference is read as one."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from service.engine.outputs import INLINE_LIMIT_BYTES, reference_of, stored


@pytest.mark.parametrize("output", [None, {}, {"id": 1}, "text", ["x" * 1000] * 7])
def test_a_small_output_stands_where_it_belongs(output: Any) -> None:
    assert stored(output, uuid4()) == (output, None)


def test_a_large_output_is_referred_to_and_kept_once() -> None:
    # given an output just above the limit
    result_id = uuid4()
    output = {"text": "ä" * INLINE_LIMIT_BYTES}
    # when it is to be kept
    reference, row = stored(output, result_id)
    # then its row has all of it, and the reference its size and how it begins
    assert row is not None
    assert (row["result_id"], row["document"]) == (result_id, output)
    assert reference["bytes"] == row["bytes"] > INLINE_LIMIT_BYTES
    assert reference["beginning"].startswith('{"text":"ää')
    assert reference_of({**reference, "$result": str(result_id)}) == result_id


def test_an_output_that_the_fast_encoder_cannot_write_is_kept_too() -> None:
    output = {"number": 10**40, "text": "x" * INLINE_LIMIT_BYTES}
    assert stored(output, uuid4())[1] is not None


@pytest.mark.parametrize(
    "output",
    [
        None,
        [],
        "text",
        {"$result": str(uuid4())},
        {"$result": str(uuid4()), "bytes": 1, "beginning": "", "more": 1},
        {"$result": "no id", "bytes": 1, "beginning": ""},
        {"$result": None, "bytes": 1, "beginning": ""},
        {"$result": 7, "bytes": 1, "beginning": ""},
    ],
)
def test_anything_else_is_no_reference(output: Any) -> None:
    assert reference_of(output) is None
