"""Which version is in force: told as stories, then compared with the plainest statement of the rule."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from service.domain.packs.deciding.activations import Activation, in_force, scheduled, standing
from tests.unit.domain.given import NOON

HOUR = timedelta(hours=1)


def at(number: int, hours: float, *, immediate: bool = True) -> Activation:
    """The activation of version `number`, so many hours after noon."""
    return Activation(number, number, NOON + hours * HOUR, immediate)


def version(activations: list[Activation], received: float, now: float = 100) -> int | None:
    """What decides something received so many hours after noon."""
    found = in_force(standing(activations), NOON + received * HOUR, NOON + now * HOUR)
    return None if found is None else found.version


def test_a_scheduled_version_decides_what_is_received_from_its_instant_on() -> None:
    history = [at(1, 0), at(2, 3, immediate=False)]
    assert [version(history, hours) for hours in (0, 2.999, 3, 4)] == [1, 1, 2, 2]


def test_an_immediate_version_decides_what_was_received_before_it_and_overtakes_what_came_into_force() -> None:
    history = [at(1, 0), at(2, 3, immediate=False), at(3, 5)]
    assert [version(history, hours) for hours in (1, 4, 6)] == [3, 3, 3]


def test_what_is_still_to_come_stands_when_another_is_activated_at_once() -> None:
    history = [at(1, 0), at(2, 10, immediate=False), at(3, 5)]
    assert [version(history, hours) for hours in (4, 9, 10)] == [3, 3, 2]
    assert [one.version for one in scheduled(standing(history), NOON + 6 * HOUR)] == [2]


def test_what_was_received_before_any_version_is_decided_by_the_first_that_is_in_force() -> None:
    history = [at(1, 3, immediate=False), at(2, 6, immediate=False)]
    assert version(history, 1, now=2) is None
    assert version(history, 1, now=4) == 1
    assert version([], 1) is None


activations = st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=7).map(
    lambda ones: [at(number, hours, immediate=immediate) for number, (hours, immediate) in enumerate(ones, start=1)]
)


@given(history=activations, received=st.integers(0, 9))
def test_the_newest_immediate_one_is_the_floor_and_later_instants_count(
    history: list[Activation], received: int
) -> None:
    moment = NOON + received * HOUR
    immediate = [one for one in history if one.immediate]
    if not immediate:
        return
    floor = immediate[-1]
    reached = [
        one
        for one in history
        if not one.immediate
        and one.effective_at <= moment
        and (one.effective_at, one.number) > (floor.effective_at, floor.number)
    ]
    expected = max(reached, key=lambda one: (one.effective_at, one.number), default=floor)
    assert version(history, received) == expected.version
