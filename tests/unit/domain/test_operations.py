"""Operations on many dead letters: the canary decides about the rest, the pace is kept, and all comes to an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as some

from service.domain.operations import BURST_SECONDS, Counts, OperationState, Pace, Step, next_step, seconds_left

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
TIMEOUT = timedelta(seconds=60)


def step(state: OperationState, counts: Counts, canary: int = 3, waited: float = 0.0) -> Step:
    """What comes next, so many seconds after the last one was sent."""
    sent_at = NOON - timedelta(seconds=waited) if counts.tried else None
    return next_step(state, counts, canary, TIMEOUT, sent_at, NOON)


def test_first_only_the_canary_is_sent() -> None:
    assert step(OperationState.CANARY, Counts(pending=100)).send == 3
    assert step(OperationState.CANARY, Counts(pending=99, sent=1)).send == 2
    assert step(OperationState.CANARY, Counts(pending=97, sent=3)).send == 0
    assert step(OperationState.CANARY, Counts(pending=97, sent=1, succeeded=2)).send == 0


def test_the_rest_follows_when_all_of_the_canary_succeeded() -> None:
    following = step(OperationState.CANARY, Counts(pending=97, succeeded=3))
    assert (following.state, following.send) == (OperationState.RUNNING, 97)


def test_one_that_fails_again_stops_everything() -> None:
    stopped = step(OperationState.CANARY, Counts(pending=97, sent=1, succeeded=1, failed=1))
    assert (stopped.state, stopped.send) == (OperationState.CANARY_FAILED, 0)
    assert stopped.reason == "1 of the first 3 failed again"


def test_one_that_became_a_persons_stops_everything_too() -> None:
    stopped = step(OperationState.CANARY, Counts(pending=97, succeeded=3, badly=2))
    assert stopped.state is OperationState.CANARY_FAILED
    assert stopped.reason == "2 of the first 3 ended ESCALATED"


def test_a_canary_that_takes_too_long_has_failed() -> None:
    under_way = Counts(pending=97, sent=1, succeeded=2)
    assert step(OperationState.CANARY, under_way, waited=59).state is OperationState.CANARY
    assert step(OperationState.CANARY, under_way, waited=61).state is OperationState.CANARY_FAILED


def test_what_cannot_be_sent_is_no_part_of_the_canary() -> None:
    # given that two of the first were taken by somebody else
    counts = Counts(pending=95, sent=1, skipped=2)
    # then two more are tried
    assert step(OperationState.CANARY, counts).send == 2


def test_fewer_than_the_canary_are_enough_when_there_are_no_more() -> None:
    assert step(OperationState.CANARY, Counts(succeeded=2)).state is OperationState.FINISHED


def test_later_failures_do_not_stop_it() -> None:
    assert step(OperationState.RUNNING, Counts(pending=5, failed=9)) == Step(OperationState.RUNNING, 5)


def test_it_is_finished_when_everything_sent_is_settled() -> None:
    assert step(OperationState.RUNNING, Counts(sent=1, succeeded=9)).state is OperationState.RUNNING
    assert step(OperationState.RUNNING, Counts(succeeded=9, failed=1)).state is OperationState.FINISHED


def test_what_is_stopped_sends_nothing() -> None:
    for state in (OperationState.STOPPED, OperationState.CANARY_FAILED, OperationState.FINISHED):
        assert step(state, Counts(pending=5)) == Step(state)


@given(
    some.floats(0.05, 500),
    some.lists(some.tuples(some.floats(0, 10), some.integers(0, 1000)), min_size=1, max_size=60),
)
def test_a_pace_is_never_exceeded(rate: float, looks: list[tuple[float, int]]) -> None:
    # given looks at irregular times, by dispatchers that take what they may
    pace, now = Pace(rate, 0.0, NOON), NOON
    left: list[tuple[datetime, int]] = []
    for after, wanted in looks:
        now += timedelta(seconds=after)
        pace = pace.filled(now)
        number = pace.allows(wanted)
        pace = pace.spent(number)
        left.append((now, number))
    # then over any window no more have left than the rate allows for it, and the burst that may be saved up
    for begin, _ in left:
        within = [(at, number) for at, number in left if at >= begin]
        for end, _ in within:
            seconds = (end - begin).total_seconds()
            total = sum(number for at, number in within if at <= end)
            assert total <= rate * seconds + max(1.0, rate * BURST_SECONDS) + 1e-6


def test_a_pace_is_reached_by_looks_once_a_second() -> None:
    pace, now, total = Pace(2.5, 0.0, NOON), NOON, 0
    for _ in range(100):
        now += timedelta(seconds=1.07)
        pace = pace.filled(now)
        number = pace.allows(1000)
        pace, total = pace.spent(number), total + number
    assert 266 <= total <= 268


def test_a_clock_that_is_behind_takes_nothing_back() -> None:
    pace = Pace(10, 5.0, NOON)
    assert pace.filled(NOON - timedelta(hours=1)) == pace


def test_how_long_it_takes_is_told_by_the_pace_or_by_what_left_lately() -> None:
    assert seconds_left(Counts(pending=100), 50, 0, 10) == 2
    assert seconds_left(Counts(pending=100), None, 500, 10) == 2
    assert seconds_left(Counts(pending=100), None, 0, 10) is None
    assert seconds_left(Counts(sent=1), None, 0, 10) == 0
