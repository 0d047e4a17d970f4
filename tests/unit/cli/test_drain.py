"""How long a drain waits, and what it takes for rest."""

from __future__ import annotations

import pytest

from service.cli.drain import LOOKS, wait
from service.persistence.pauses import InFlight


def left(working: int = 0, calling: int = 0, retrying: int = 0) -> InFlight:
    return InFlight(working, calling, retrying, 0, None, None, {})


def drained(looks: list[InFlight], timeout: float) -> tuple[bool, InFlight, float]:
    """Whether it came to rest, the last look, and how long that took; each look after the last is like it."""
    clock, said = [0.0], []

    def look() -> InFlight:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    came, last = wait(look, timeout, said.append, lambda: clock[0], sleep)
    return came, last, clock[0]


def test_rest_is_believed_after_some_looks_that_find_nothing() -> None:
    # given a dispatcher that was between taking and sending at the first look
    came, _, took = drained([left(), left(working=3), left(), left()], 60)
    assert came and took == LOOKS + 1


@pytest.mark.parametrize("busy", [left(working=1), left(calling=1)])
def test_what_is_under_way_is_waited_for_until_the_time_is_up(busy: InFlight) -> None:
    came, last, took = drained([busy], 5)
    assert (came, last, took) == (False, busy, 5)


def test_retries_that_wait_in_the_broker_are_not_waited_for() -> None:
    came, last, _ = drained([left(retrying=7)], 60)
    assert came and last.retrying == 7


def test_without_waiting_there_is_one_look() -> None:
    came, _, took = drained([left()], 0)
    assert (came, took) == (False, 0)
