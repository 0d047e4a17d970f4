"""The recovery scenario without a stack: which part breaks, what the rounds come to, what is a problem."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.bench.machine import Machine
from service.bench.recovery import RecoveryPlan, RecoveryResults, Round, as_text, problems
from service.bench.statistics import Latency
from service.bench.striking import Fault, parse_faults, seconds_until_back
from service.devstack.errors import StackError
from tests.unit.bench.given import MACHINE

CALM = Round(
    fault="worker",
    back_seconds=1.5,
    stall_seconds=4.0,
    flow_after_back_seconds=2.5,
    under_way=Latency(100, 3000, 8000, 9000, 9500, 4000),
    behind=Latency(1000, 300, 700, 900, 1000, 350),
    accepted=1000,
    refused=0,
    missing=0,
    drained=True,
    load_average=1.0,
)


def results(*rounds: Round) -> RecoveryResults:
    machine: Machine = MACHINE
    return RecoveryResults(RecoveryPlan(), machine, "bench", rate=50.0, full_rate=100.0, rounds=list(rounds))


def test_each_fault_has_the_figure_that_is_promised_of_it() -> None:
    # given two rounds with a worker, and one each with a broker and PostgreSQL
    slow = replace(CALM, under_way=Latency(100, 3000, 8000, 13_000, 14_000, 4000))
    others = (replace(CALM, fault="broker"), replace(CALM, fault="postgres"))
    # then a worker's figure is the p99 of what was under way, a broker's its stall, PostgreSQL's the flow after it
    measures = results(CALM, slow, *others).measures()
    assert measures["worker"] == {"min": 9.0, "median": 11.0, "max": 13.0}
    assert measures["broker"]["max"] == 4.0
    assert measures["postgres"]["max"] == 2.5


def test_a_round_in_which_nothing_was_under_way_has_no_figure() -> None:
    # given
    found = results(replace(CALM, under_way=None))
    # then it is shown, and sums up to nothing
    assert found.measures() == {}
    assert "none" in as_text(found)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"missing": 3}, "3 exceptions were answered 202"), ({"drained": False}, "not everything came to its end")],
)
def test_what_was_lost_or_stuck_is_a_problem_and_slowness_is_none(wrong: dict[str, object], told: str) -> None:
    assert problems(results(replace(CALM, stall_seconds=100.0))) == []
    assert told in problems(results(replace(CALM, **wrong)))[0]  # type: ignore[arg-type]


def test_faults_are_named_by_comma_and_a_wrong_name_is_told_what_there_is() -> None:
    assert parse_faults("postgres, worker") == (Fault.POSTGRES, Fault.WORKER)
    with pytest.raises(ValueError, match="redis cannot be broken; there are: worker, broker, postgres"):
        parse_faults("redis")


def test_what_does_not_come_back_is_waited_for_no_longer_than_it_may_take() -> None:
    # given a clock of which each look takes a minute
    times = iter(range(0, 1000, 60))
    # then
    with pytest.raises(StackError, match="did not come back: gone"):
        seconds_until_back(lambda: "gone", lambda: float(next(times)))
