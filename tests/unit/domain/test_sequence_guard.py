"""What the guard promises: every pair of positions has one verdict, and only the exact one is applied."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.domain.guard import FINISHED, Position, Verdict, judge

delivered_positions = st.builds(Position, sequence=st.integers(1, 5), stage=st.integers(0, 4))
actual_positions = st.builds(Position, sequence=st.integers(1, 5), stage=st.integers(0, FINISHED))


def test_a_second_delivery_of_a_finished_stage_is_carried_on() -> None:
    # given an exception whose triage is done
    row = Position(sequence=1, stage=2)
    # when triage is delivered once more, then the chain goes on from where the row is
    assert judge(Position(sequence=1, stage=1), row) is Verdict.ONWARD


def test_a_delivery_for_a_finished_event_is_dropped() -> None:
    assert judge(Position(sequence=1, stage=4), Position(sequence=1, stage=FINISHED)) is Verdict.STALE
    assert judge(Position(sequence=1, stage=4), Position(sequence=2, stage=0)) is Verdict.STALE


def test_an_update_that_overtakes_its_predecessor_waits() -> None:
    assert judge(Position(sequence=2, stage=0), Position(sequence=1, stage=3)) is Verdict.EARLY


@given(delivered=delivered_positions, actual=actual_positions)
def test_only_the_exact_position_is_applied(delivered: Position, actual: Position) -> None:
    assert (judge(delivered, actual) is Verdict.APPLY) == (delivered == actual)


@given(delivered=delivered_positions, actual=actual_positions)
def test_early_and_behind_are_told_apart(delivered: Position, actual: Position) -> None:
    assert (judge(delivered, actual) is Verdict.EARLY) == (delivered > actual)
