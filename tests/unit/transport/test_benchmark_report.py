"""The benchmark's arithmetic: rates, percentiles, ratios, and that what fails is shown as that."""

from __future__ import annotations

import pytest

from tests.benchmarks.transport.report import Rows, asked, table
from tests.benchmarks.transport.values import Figure, percentile, rate


def test_a_rate_leaves_the_warm_up_out() -> None:
    # given a slow start, then a task every 10 ms
    times = [0.0, 5.0, *(6 + n / 100 for n in range(18))]
    # then only the steady part counts
    assert rate(times) == pytest.approx(100)
    assert rate(times[:5]) is None


def test_percentiles_lie_between_the_values() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) is None


def test_ratios_are_those_of_the_medians() -> None:
    rows = Rows()
    for theirs, ours in ((900, 2900), (1000, 3100), (5000, 9000)):
        rows.add("redis", [Figure("no-op tasks, prefork -c 2", "1/s", theirs)])
        rows.add("ours", [Figure("no-op tasks, prefork -c 2", "1/s", ours)])
    assert rows.named("no-op tasks, prefork -c 2").ratio("ours") == 3.1
    assert [one.met for one in asked(rows)][:2] == [True, None]


def test_what_hangs_is_shown_with_its_reason() -> None:
    rows = Rows()
    rows.add("stock", [Figure("no-op tasks, threads -c 4", "", None, "hangs: no end within 75 s")])
    rows.add("ours", [Figure("no-op tasks, threads -c 4", "1/s", 4000)])
    shown = table(rows)
    assert "| no-op tasks, threads -c 4 | 1/s | - | 4,000 | - | - [1] | - |" in shown
    assert "[1] kombu's confluentkafka: hangs: no end within 75 s" in shown
