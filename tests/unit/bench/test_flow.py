"""The valve keeps its bound however late it is told what became of the load; the metronome keeps its rate."""

from __future__ import annotations

from threading import Event, Thread

from hypothesis import given
from hypothesis import strategies as st

from service.bench.flow import Metronome, Observed, Valve


def _ended() -> Event:
    event = Event()
    event.set()
    return event


def test_a_sender_waits_once_the_backlog_is_at_its_bound_and_goes_on_when_it_shrinks() -> None:
    # given a valve with two batches of 500 under way, and room for two
    valve, running = Valve(1000), Event()
    assert valve.admit(500, running)
    assert valve.admit(500, running)
    # when a third sender comes
    passed = Event()
    sender = Thread(target=lambda: valve.admit(500, running) and passed.set())
    sender.start()
    # then it waits
    assert not passed.wait(0.1)
    assert valve.closed
    # and passes once the database has told that one batch is settled
    valve.answered(1000)
    valve.observe(Observed(backlog=500, answered=1000))
    assert passed.wait(5)
    sender.join()


def test_what_was_sent_and_not_answered_when_the_database_was_asked_still_counts() -> None:
    # given a batch that was answered and one that was not, when the database tells of an empty pipeline
    valve, running = Valve(1000), Event()
    valve.admit(500, running)
    valve.answered(500)
    valve.admit(500, running)
    valve.observe(Observed(backlog=0, answered=valve.answered_so_far()))
    # then the second may have come in just after that
    assert valve.outstanding() == 500


def test_a_waiting_sender_is_let_go_when_the_run_ends() -> None:
    valve = Valve(10)
    assert not valve.admit(11, _ended())


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=60))
def test_the_bound_is_never_passed(steps: list[tuple[int, int]]) -> None:
    # given any mix of batches and of how many are settled in between, told at once
    valve, bound, in_pipeline, stop = Valve(100), 100, 0, _ended()
    for items, settled in steps:
        if valve.outstanding() + items <= bound:
            assert valve.admit(items, Event())
            in_pipeline += items
            valve.answered(items)
        else:
            assert not valve.admit(items, stop)
        assert in_pipeline <= bound
        in_pipeline = max(0, in_pipeline - settled)
        valve.observe(Observed(in_pipeline, valve.answered_so_far()))


def test_a_metronome_spaces_turns_by_their_items() -> None:
    # given 100 items a second, and a clock that stands
    now = 50.0
    metronome = Metronome(100.0, clock=lambda: now)
    # then the first turn is due at once, and a turn of ten items makes the next wait a tenth of a second
    assert metronome.admit(10, Event())
    now = 50.1
    assert metronome.admit(10, Event())
    assert metronome.late == 0


def test_a_turn_that_comes_too_late_is_counted() -> None:
    now = 0.0
    metronome = Metronome(100.0, clock=lambda: now)
    metronome.admit(10, Event())
    # when whoever sends was held up for a second
    now = 1.1
    metronome.admit(10, Event())
    # then that is told
    assert metronome.late == 1
