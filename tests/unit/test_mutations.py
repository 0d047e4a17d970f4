"""The list of `make mutations` fits the code it is about: a guard that moved is told at once, not at the next run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS
from tests.mutations.mutation import ChaosRound, Mutation

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.promise)
def test_a_mutation_fits_the_code_and_names_a_test(mutation: Mutation) -> None:
    # then each guard is in its file once, and taking it out changes something
    for change in mutation.changes:
        assert (PROJECT / change.file).read_text("utf-8").count(change.old) == 1
        assert change.old != change.new
    # and the tests that must notice are there
    path, _, name = mutation.tests.partition("::")
    assert (PROJECT / path).exists()
    assert not name or f"def {name}(" in (PROJECT / path).read_text("utf-8")


def test_every_promise_is_listed_once() -> None:
    promises = [mutation.promise for mutation in MUTATIONS]
    assert len(promises) == len(set(promises))


@pytest.mark.parametrize(
    ("said", "noticed"),
    [
        ("05:56:42 red: L1\n", True),
        ("05:56:42 red: L1, L6\n", True),
        ("05:56:42 red: L6\n", False),
        ("05:56:42 red: L1, L2\n", False),
        ("1 rounds, 300 exceptions: every invariant held\n", False),
    ],
)
def test_a_round_must_turn_red_for_its_invariant_and_may_for_what_follows(said: str, noticed: bool) -> None:
    assert ChaosRound("kill-worker", "L1", follows="L6").noticed(said) is noticed
