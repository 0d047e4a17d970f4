"""When a run fails, and what is told beside its figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.bench.observing import Books, add_up
from service.bench.probes import OBSERVED_BY, Journeys
from service.bench.results import Kept, ToolCalls, problems, warnings
from service.bench.tally import Errors
from service.persistence.queries import Ledger
from tests.unit.bench import given


def test_a_run_that_kept_everything_has_no_problems_and_no_warnings() -> None:
    run = given.results()
    assert problems(run) == []
    assert warnings(run) == []


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (Kept(1000, 0, Books(accepted=999, resolved=999)), "1 exceptions were answered 202 and are not in the ledger"),
        (Kept(1000, 0, Books(accepted=1001, resolved=1001)), "1 exceptions that were never sent"),
        (Kept(1000, 0, Books(1000, 1000, balanced=False)), "the ledger does not balance"),
        (Kept(1000, 0, Books(1000, resolved=990, in_flight=10)), "10 exceptions are still in flight"),
        (Kept(1000, 0, Books(1000, resolved=998, dead_lettered=2)), "2 exceptions were dead-lettered"),
        (Kept(1000, 0, Books(1000, resolved=997, elsewhere=3)), "3 exceptions ended otherwise than RESOLVED"),
    ],
)
def test_what_was_lost_stuck_or_went_elsewhere_is_a_problem_of_its_phase(kept: Kept, words: str) -> None:
    # when one sample's account has a fault
    found = problems(given.results(one=given.sustained(kept=kept)))
    # then the run fails, and says where
    assert len(found) == 1
    assert found[0].startswith("batch: ")
    assert words in found[0]


def test_items_without_an_answer_may_be_in_the_ledger_or_not() -> None:
    # given 500 items whose POST was not answered
    for in_ledger in (500, 1000):
        kept = Kept(accepted_by_api=500, unknown=500, books=Books(in_ledger, in_ledger))
        # then neither outcome is a fault
        assert (kept.lost, kept.unaccounted) == (0, 0)


def test_a_second_effect_is_a_problem() -> None:
    run = replace(given.results(), tool_calls=ToolCalls(1001, 1000, worked_twice=1, forgotten=0))
    assert problems(run) == ["the tool server worked 1 calls twice"]


def test_errors_are_told_with_their_words_and_do_not_hide() -> None:
    run = given.results(one=given.sustained(errors=Errors({"503": 2}, rejected_items=7, words=("database down",))))
    assert warnings(run) == ["batch: errors: 2 of HTTP 503, 7 items rejected (database down)"]


def test_a_load_that_never_filled_the_pipeline_is_told() -> None:
    assert "never reached its bound" in warnings(given.results(one=given.sustained(bound_reached=False)))[0]


def test_a_database_without_statistics_is_told() -> None:
    run = given.results()
    told = warnings(replace(run, plan=replace(run.plan, analyse=False)))
    assert told == ["the database was not analysed: while it is new, its plans are made without statistics"]


def test_exceptions_that_were_not_followed_to_their_end_are_told() -> None:
    journeys = Journeys(200, given.FAST, replace(given.FAST, count=198), OBSERVED_BY, {"UNSETTLED": 2}, Errors())
    told = warnings(given.results(idle=given.single(journeys)))
    assert told == ["idle: 198 of 200 exceptions were followed to RESOLVED", "idle: other ends: {'UNSETTLED': 2}"]


def test_one_tenants_ledger_out_of_balance_is_not_hidden_by_anothers() -> None:
    # given two ledgers whose faults cancel out in the sum
    nothing = {"escalated": 0, "cancelled": 0, "waiting": 0, "in_flight": 0, "dead_lettered": 0, "discarded": 0}
    short = Ledger("A", accepted=10, resolved=9, **nothing)
    long = replace(short, tenant_id="B", resolved=11)
    # when they are added up
    books = add_up([short, long])
    # then the sum balances and the books do not
    assert books.accepted == books.resolved
    assert not books.balanced
