"""Percentiles that were measured, rates that count the empty seconds, and what is called steady."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bench.statistics import Second, is_steady, latency, percentile, slice_rates, throughput

durations = st.lists(st.floats(min_value=0, max_value=1000), min_size=1, max_size=300)


def test_percentiles_of_a_hundred_values_are_the_values_of_that_rank() -> None:
    # given 1 … 100 ms in any order
    measured = [n / 1000 for n in (*range(50, 101), *range(1, 50))]
    # when they are summed up
    summary = latency(measured)
    # then each percentile is the value of that rank, in milliseconds
    assert summary is not None
    assert (summary.count, summary.p50, summary.p95, summary.p99, summary.longest) == (100, 50, 95, 99, 100)
    assert summary.mean == 50.5


def test_one_slow_request_in_two_hundred_is_seen_in_the_longest_and_not_in_p99() -> None:
    summary = latency([0.01] * 199 + [5.0])
    assert summary is not None
    assert (summary.p99, summary.longest) == (10, 5000)


def test_a_rank_between_two_values_is_the_higher_one() -> None:
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3.0


def test_nothing_measured_is_not_zero() -> None:
    assert latency([]) is None
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(durations)
def test_percentiles_rise_and_were_measured(measured: list[float]) -> None:
    ordered = sorted(measured)
    points = [percentile(ordered, fraction) for fraction in (0.5, 0.95, 0.99, 1.0)]
    assert points == sorted(points)
    assert set(points) <= set(measured)
    assert points[-1] == ordered[-1]


def test_seconds_without_anything_count() -> None:
    # given a pipeline that stood still for half of ten seconds
    busy = {second: Second(accepted=100, resolved=100, events=900) for second in range(5)}
    # when its window is summed up
    window = throughput(busy, 10)
    # then the rate is that of all ten, and the slices show the standstill
    assert (window.resolved_per_second, window.events_per_second, window.events_per_minute) == (50, 450, 27_000)
    assert window.events_per_exception == 9
    assert (window.slowest_slice_per_second, window.fastest_slice_per_second) == (0, 100)


def test_what_happened_after_the_window_does_not_count() -> None:
    window = throughput({0: Second(10, 10, 90), 1: Second(1000, 1000, 9000)}, 1)
    assert (window.accepted, window.resolved, window.events) == (10, 10, 90)


def test_a_window_in_which_nothing_was_resolved_has_no_events_per_exception() -> None:
    window = throughput({0: Second(accepted=10, resolved=0, events=10)}, 5)
    assert window.events_per_exception is None
    assert not window.steady


@pytest.mark.parametrize(
    ("accepted", "resolved", "steady"), [(1000, 1000, True), (1000, 901, True), (1000, 899, False)]
)
def test_steady_means_that_as_much_comes_out_as_goes_in(accepted: int, resolved: int, steady: bool) -> None:
    assert is_steady(accepted, resolved) is steady
    assert is_steady(resolved, accepted) is steady


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=100), st.integers(1, 20))
def test_slices_cover_the_window_once(per_second: list[int], slices: int) -> None:
    rates = slice_rates(per_second, slices)
    assert len(rates) == min(slices, len(per_second))
    assert min(rates) <= sum(per_second) / len(per_second) + 1e-9 <= max(rates) + 1e-6
