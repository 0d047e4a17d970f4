"""The watcher behind Flower's pages: one look serves all who ask, and rates are told between looks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from service.transport.flower.watcher import Picture, Rate, Rates, Watcher
from service.transport.inspection.inspector import PartitionReport, QueueReport


def picture() -> Picture:
    return Picture(datetime(2026, 1, 1, tzinfo=UTC), (), (), 0, {})


def report(queue: str, end: int, lag: int) -> QueueReport:
    part = PartitionReport(0, 1, 0, end - lag, end, lag, None, None)
    return QueueReport(queue, queue, f"g.{queue}", "stable", (part,))


def test_a_rate_is_what_came_and_went_since_the_look_before() -> None:
    rates = Rates()
    # given a first look: nothing to compare with
    assert rates.between([report("q", 100, 10)], now=0) == {}
    # when ten seconds later 50 messages have come and 40 were finished
    told = rates.between([report("q", 150, 20), report("new", 5, 5)], now=10)
    # then that is 5 and 4 a second; a queue that was not seen before has no rate
    assert told == {"q": Rate(5.0, 4.0)}
    # and a look a moment later does not tell a rate over that moment
    assert rates.between([report("q", 151, 20)], now=10.5) == told


def test_a_queue_that_was_purged_or_made_anew_has_no_rate_below_nothing() -> None:
    rates = Rates()
    rates.between([report("q", 100, 10)], now=0)
    assert rates.between([report("q", 3, 3)], now=10) == {"q": Rate(0.0, 0.0)}


def test_who_asks_during_a_look_shares_it_and_later_another_is_made() -> None:
    looks, go_on, now = [], threading.Event(), [0.0]

    def take(queues: Collection[str]) -> Picture:
        looks.append(queues)
        assert go_on.wait(20)
        return picture()

    async def ask() -> None:
        watcher = Watcher(take, clock=lambda: now[0])
        # when three ask at once: then one look is made for all
        asked = asyncio.gather(*(watcher.look(["q"]) for _ in range(3)))
        await asyncio.sleep(0)
        go_on.set()
        assert len(await asked) == 3
        assert len(looks) == 1
        # and one a moment later gets the same, but not one who comes when it is old
        await watcher.look(["q"])
        assert len(looks) == 1
        now[0] = 5.0
        await watcher.look(["q"])
        assert len(looks) == 2

    asyncio.run(ask())


def test_who_asks_a_cluster_that_hangs_is_told_in_time_and_no_second_look_piles_up() -> None:
    looks, go_on = [], threading.Event()

    def take(queues: Collection[str]) -> Picture:
        looks.append(queues)
        assert go_on.wait(20)
        return picture()

    async def ask() -> None:
        watcher = Watcher(take, within=0.05)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await watcher.look(["q"])
        assert len(looks) == 1
        go_on.set()

    asyncio.run(ask())
