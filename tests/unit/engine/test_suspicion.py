"""Division and conviction: two ends lead to single exceptions, and kills from outside convict nobody soon."""

from __future__ import annotations

from uuid import UUID

import pytest

from service.engine.batch import Batch, Reference, describe, from_message, to_message
from service.engine.suspicion import (
    ALL_ENDS,
    OWN_ENDS,
    BatchFaultError,
    Ending,
    Suspicion,
    WorkerCrashedError,
    conviction,
    divided,
    evidence,
    is_enough,
    still_needed,
    wait_seconds,
)

SEGFAULT = Ending("signal 11 (SIGSEGV)", True, "w1, process 7", "2026-01-01T00:00:00+00:00")
KILLED = Ending("signal 9 (SIGKILL)", False, "w1, process 8", "2026-01-01T00:00:01+00:00")
TOGETHER = Ending("signal 11 (SIGSEGV)", True, "w1, process 6", "2026-01-01T00:00:00+00:00", 500)


def references(count: int) -> list[Reference]:
    return [Reference("t", UUID(int=n), 1) for n in range(count)]


@pytest.mark.parametrize(("count", "most"), [(1, 1), (9, 1), (10, 4), (200, 15), (500, 23), (1000, 32)])
def test_a_batch_is_divided_into_about_as_many_parts_as_each_has_exceptions(count: int, most: int) -> None:
    parts = divided(references(count), again=False)
    assert [one for part in parts for one in part] == references(count)
    assert max(map(len, parts)) == most
    assert len(parts) <= max(most, count // most + 1)


def test_what_was_divided_before_comes_singly() -> None:
    assert [len(part) for part in divided(references(30), again=True)] == [1] * 30


def test_what_ends_its_process_alone_is_convicted_after_a_few_times() -> None:
    assert [is_enough([SEGFAULT] * n) for n in range(1, OWN_ENDS + 1)] == [False] * (OWN_ENDS - 1) + [True]


def test_kills_from_outside_convict_later() -> None:
    # given an exception whose worker was killed as often as would convict it if it had crashed
    assert not is_enough([KILLED] * OWN_ENDS)
    assert not is_enough([KILLED] * (ALL_ENDS - 1))
    # then only more than chance explains does
    assert is_enough([KILLED] * ALL_ENDS)
    assert not is_enough([SEGFAULT, KILLED, KILLED, SEGFAULT])
    assert still_needed([SEGFAULT, KILLED]) == 2


def test_ends_in_company_do_not_count() -> None:
    suspicion = Suspicion("b", 0, (TOGETHER, TOGETHER, TOGETHER, TOGETHER, TOGETHER, SEGFAULT))
    assert suspicion.alone() == (SEGFAULT,)


def test_waits_grow_and_differ() -> None:
    assert [wait_seconds(n, 1.0) for n in range(1, 7)] == [1, 2, 4, 8, 16, 16]
    assert [wait_seconds(n, 0.0) for n in range(1, 4)] == [0.5, 1, 2]


def test_the_dead_letter_says_what_to_do_and_the_evidence_has_every_end() -> None:
    error = conviction([SEGFAULT] * 3)
    assert isinstance(error, WorkerCrashedError)
    assert "3 times" in str(error)
    assert "signal 11 (SIGSEGV)" in str(error)
    assert "redrive" in str(error)
    shown = evidence("b-1", "triage", [TOGETHER, SEGFAULT])
    assert shown["batch"] == "b-1"
    assert [(end["how"], end["exceptions"]) for end in shown["ends"]] == [
        ("signal 11 (SIGSEGV)", 500),
        ("signal 11 (SIGSEGV)", 1),
    ]


def test_an_error_that_always_comes_is_no_crash() -> None:
    faults = [Ending("error DataError", False, "w1", "2026-01-01T00:00:00+00:00")] * ALL_ENDS
    assert isinstance(conviction(faults), BatchFaultError)


def test_suspicion_travels_with_its_part_and_ends_with_the_stage() -> None:
    part = Batch(tuple(references(2)), suspicion=Suspicion("b", 3, (TOGETHER,)))
    assert from_message(to_message(part)) == part
    assert describe(part).endswith("suspected")
    assert part.of(references(1)).suspicion is not None
    assert part.onward(references(1)).suspicion is None
