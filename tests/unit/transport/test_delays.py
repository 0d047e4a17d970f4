"""The way of a delayed message: never early by more than the threshold, and it always arrives."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transport.delays.route import SLOTS, Route, due_time, park, read_parked, unpark
from service.transport.errors import BadOption, Undecodable
from service.transport.names import Names
from service.transport.options import Options
from service.transport.records import Record

OPTIONS = Options()
ROUTE = Route(OPTIONS, Names())
NOW = 1_800_000_000.0
WEEK = 7 * 86400.0


def test_what_is_due_now_or_in_the_past_goes_straight_to_its_queue() -> None:
    assert ROUTE.step(NOW + OPTIONS.delay_threshold / 2, NOW) is None
    assert ROUTE.step(NOW - WEEK, NOW) is None


def test_what_is_due_soon_waits_on_the_slot_of_its_moment() -> None:
    step, same, other = (ROUTE.step(NOW + seconds, NOW) for seconds in (3, 3.01, 8))
    assert step is not None
    assert same is not None
    assert other is not None
    # a slot opens before anything of it is due
    assert step.topic == "_soon"
    assert NOW + 1 < step.release <= NOW + 3
    assert (step.slot, step.release) == (same.slot, same.release)
    assert step.slot != other.slot


@given(delay=st.floats(0, 20), other=st.floats(0, 20))
def test_slots_that_share_a_partition_open_long_after_one_another(delay: float, other: float) -> None:
    """Else what is due now would wait behind what is due in the next round of the wheel."""
    one, two = ROUTE.step(NOW + delay, NOW), ROUTE.step(NOW + other, NOW)
    if one and two and one.slot is not None and two.slot is not None and one.slot % SLOTS == two.slot % SLOTS:
        assert one.release == two.release


@given(delay=st.floats(0, WEEK), lateness=st.floats(0, 0.5))
def test_a_message_arrives_at_its_time_over_a_bounded_number_of_hops(delay: float, lateness: float) -> None:
    # given movers that are late by up to half a second at every hop
    now, due, hops = NOW, NOW + delay, 0
    while (step := ROUTE.step(due, now)) is not None:
        assert step.release <= due
        at = due if step.topic == ROUTE.soon else step.release
        now, hops = max(now, at + lateness), hops + 1
        assert hops < 40
    # then it is never early, and late by no more than the last of them
    assert due - OPTIONS.delay_threshold <= now
    assert now <= due + lateness + 0.001


@pytest.mark.parametrize(
    ("delay", "hops"),
    [
        (5, 1),
        (10, 1),
        (30, 2),
        (60, 2),
        (600, 2),
        (3600, 2),
        (2 * 3600, 3),
        (86400, 2),
        (WEEK, 2),
        (10 * 365 * 86400, 540),
    ],
)
def test_the_usual_delays_take_few_hops(delay: float, hops: int) -> None:
    now, due, taken = NOW, NOW + delay - 0.01, 0
    while (step := ROUTE.step(due, now)) is not None:
        now, taken = (due if step.topic == ROUTE.soon else step.release), taken + 1
    assert taken <= hops


@given(first=st.floats(12, WEEK), second=st.floats(0, 5), ahead=st.floats(0, 86400.0))
def test_whatever_waits_on_a_level_waits_equally_long(first: float, second: float, ahead: float) -> None:
    """So the oldest record of a level is always the next one to go, and the rest can stay on the topic."""
    one, other = ROUTE.step(NOW + first, NOW), ROUTE.step(NOW + second + ahead, NOW + second)
    if one is not None and other is not None and one.topic == other.topic != ROUTE.soon:
        assert other.release - one.release == pytest.approx(second, abs=1e-5)


def test_a_mover_also_reads_levels_that_are_not_configured_any_more_and_nothing_else() -> None:
    route = Route(Options(topic_prefix="a.b-", delay_levels=(60.0,)), Names("a.b-"))
    [pattern] = route.subscription
    for topic in ("a.b-_soon", "a.b-_wait.60000", "a.b-_wait.86400000"):
        assert re.search(pattern, topic)
    for stranger in (
        "a.b-jobs",
        "a.b-_soone",
        "axb-_wait.60000",
        "xa.b-_wait.60000",
        "a.b-_wait.60000x",
        "a.b-_wait.jobs",
    ):
        assert not re.search(pattern, stranger)


def test_levels_must_rise_and_there_must_be_one() -> None:
    for levels in ((), (5.0, 5.0), (10.0, 5.0), (0.0, 1.0)):
        with pytest.raises(BadOption, match="delay_levels"):
            Options(delay_levels=levels)


def test_a_parked_record_carries_its_target_and_becomes_itself_again() -> None:
    record = Record(b"key", b"body", [("task", b"t")])
    parked = park(park(record, "triage", NOW + 60, NOW + 10, 3), "triage", NOW + 60, NOW + 20, 4)
    told = read_parked(parked.headers)
    assert (told.target, told.due, told.release, told.tries) == ("triage", NOW + 60, NOW + 20, 4)
    assert unpark(parked) == record


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("kombu-delay-due", b"x")],
        [("kombu-delay-due", b"1")],
        [("kombu-delay-due", b"1"), ("kombu-delay-release", b"1")],
        [("kombu-delay-due", b"nan"), ("kombu-delay-release", b"1"), ("kombu-delay-target", b"triage")],
    ],
)
def test_a_stray_record_on_a_delay_topic_is_recognised(headers: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(Undecodable):
        read_parked(headers)


def test_the_eta_header_is_read_in_any_time_zone() -> None:
    moment = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5)))
    for eta in (moment.isoformat(), elsewhere.isoformat(), moment, moment.replace(tzinfo=None).isoformat()):
        assert due_time({"headers": {"eta": eta}}) == moment.timestamp()


@pytest.mark.parametrize("headers", [None, {}, {"eta": None}, {"eta": "soon"}, {"eta": "0001-01-01T00:00:00+14:00"}])
def test_a_message_without_a_readable_eta_is_due_now(headers: dict[str, object] | None) -> None:
    due = due_time({"headers": headers})
    assert due is None or due < NOW
