"""Batches travel as JSON and come back the same; what is not a batch is said to be none."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.batch import Batch, BatchUnreadableError, Reference, describe, from_message, to_message

references = st.builds(
    Reference,
    tenant_id=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    exception_id=st.uuids(),
    sequence=st.integers(1, 1000),
    attempt=st.integers(0, 20),
)
batches = st.builds(
    Batch,
    references=st.lists(references, min_size=1, max_size=20).map(tuple),
    lane=st.none() | st.integers(0, 255),
    batch_id=st.none() | st.uuids().map(str),
)


@given(batches)
def test_a_batch_survives_the_wire(batch: Batch) -> None:
    assert from_message(json.loads(json.dumps(to_message(batch)))) == batch


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"lane": 1, "batch": None},
        {"lane": 1, "batch": None, "references": [["T", "not-a-uuid", 1, 0]]},
        {"lane": 1, "batch": None, "references": [["T"]]},
        [1, 2],
        "text",
        None,
    ],
)
def test_anything_else_is_poison_and_says_so(message: object) -> None:
    with pytest.raises(BatchUnreadableError, match="not a batch of references"):
        from_message(message)  # type: ignore[arg-type]  # what a foreign message may hold


def test_flower_shows_how_many_of_whom_in_which_lane() -> None:
    batch = Batch(tuple(Reference(f"T{n % 5}", uuid4(), 1) for n in range(500)), lane=3, batch_id="b")
    assert describe(batch) == "500 exceptions, lane 3, T0, T1, T2 and 2 more"


def test_flower_shows_which_exception_is_retried_alone() -> None:
    exception = UUID("01a205fa-d6df-711c-aa66-0f7af530e991")
    assert describe(Batch.single(Reference("T", exception, 1, attempt=2))) == f"exception {exception} of T, attempt 3"
