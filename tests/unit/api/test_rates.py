"""The window in which a tenant's rate is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.api.rates import LARGEST_REQUEST, window_for


@given(st.floats(0.01, 100_000))
def test_the_largest_request_fits_into_every_window_and_the_rate_is_kept(per_second: float) -> None:
    window = window_for(per_second)
    assert window.amount >= LARGEST_REQUEST - 1
    assert window.amount <= per_second * window.multiples + 1e-6


def test_a_high_rate_is_counted_by_the_second() -> None:
    assert (window_for(20_000).amount, window_for(20_000).multiples) == (20_000, 1)
