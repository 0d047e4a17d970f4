"""The way of a delayed message: never early by more than the threshold, and it always arrives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.transport.delays import Route, due_time, park, read_parked, unpark
from service.transport.errors import Undecodable
from service.transport.names import Names
from service.transport.options import Options
from service.transport.records import Record

OPTIONS = Options()
ROUTE = Route(OPTIONS, Names())
NOW = 1_800_000_000.0


def test_what_is_due_now_goes_straight_to_its_queue() -> None:
    assert ROUTE.step(NOW + OPTIONS.delay_threshold / 2, NOW) is None


def test_a_short_delay_waits_for_its_own_moment() -> None:
    step = ROUTE.step(NOW + 3, NOW)
    assert step is not None
    assert (step.topic, step.release) == ("_soon", NOW + 3)


@given(delay=st.floats(0, 7 * 86400.0), lateness=st.floats(0, 0.5))
def test_a_message_arrives_at_its_time_over_a_bounded_number_of_hops(delay: float, lateness: float) -> None:
    now, due, hops = NOW, NOW + delay, 0
    while (step := ROUTE.step(due, now)) is not None:
        assert step.release <= due
        now, hops = max(now, step.release) + lateness, hops + 1
        assert hops < 60
    assert due - OPTIONS.delay_threshold <= now or now == NOW
    assert now <= due + lateness + 0.001 or delay == 0


@given(first=st.floats(11, 86400.0 * 7), second=st.floats(0, 5), ahead=st.floats(0, 86400.0))
def test_whatever_waits_on_a_level_waits_equally_long(first: float, second: float, ahead: float) -> None:
    """So the oldest record of a level is always the next one to go, and the rest can stay on the topic."""
    one, other = ROUTE.step(NOW + first, NOW), ROUTE.step(NOW + second + ahead, NOW + second)
    if one is not None and other is not None and one.topic == other.topic != ROUTE.soon:
        assert other.release - one.release == pytest.approx(second, abs=1e-5)


def test_a_parked_record_carries_its_target_and_becomes_itself_again() -> None:
    record = Record(b"key", b"body", [("task", b"t")])
    parked = park(park(record, "triage", NOW + 60, NOW + 10), "triage", NOW + 60, NOW + 20)
    told = read_parked(parked.headers)
    assert (told.target, told.due, told.release) == ("triage", NOW + 60, NOW + 20)
    assert unpark(parked) == record


@pytest.mark.parametrize("headers", [[], [("kombu-delay-due", b"x")], [("kombu-delay-due", b"1")]])
def test_a_stray_record_on_a_delay_topic_is_recognised(headers: list[tuple[str, bytes | None]]) -> None:
    with pytest.raises(Undecodable):
        read_parked(headers)


def test_the_eta_header_is_read_in_any_time_zone() -> None:
    moment = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=5)))
    for eta in (moment.isoformat(), elsewhere.isoformat(), moment, moment.replace(tzinfo=None).isoformat()):
        assert due_time({"headers": {"eta": eta}}) == moment.timestamp()


@pytest.mark.parametrize("headers", [None, {}, {"eta": None}, {"eta": "soon"}])
def test_a_message_without_a_readable_eta_is_due_now(headers: dict[str, object] | None) -> None:
    assert due_time({"headers": headers}) is None
