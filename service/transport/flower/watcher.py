"""What Flower shows of the queues: one look at the cluster for all who ask, with rates between two looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from ..cluster import Cluster
from ..inspection.inspector import DelayReport, Inspector, QueueReport

_FRESH = 1.0
"""A look this young serves whoever asks next."""
_RATE_OVER = 2.0
"""Rates are told over at least this many seconds."""
_WITHIN = 8.0
"""How long a page waits for a look. The look itself is bounded too, but by several requests one after the other."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Messages a second, since an earlier look."""

    published: float
    finished: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What was seen in one look."""

    at: datetime
    queues: tuple[QueueReport, ...]
    delays: tuple[DelayReport, ...]
    dead_letters: int
    rates: dict[str, Rate]
    """By queue; a queue that was not seen before has none."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far the queues were at some time."""

    at: float
    written: dict[str, int]
    finished: dict[str, int]


class Rates:
    """What comes and goes between two looks."""

    def __init__(self) -> None:
        self._mark: _Mark | None = None
        self._rates: dict[str, Rate] = {}

    def between(self, reports: Sequence[QueueReport], now: float) -> dict[str, Rate]:
        """Return the rates since an earlier look; the last ones, when that was a moment ago."""
        written = {report.queue: sum(part.end for part in report.partitions) for report in reports}
        finished = {report.queue: written[report.queue] - report.lag for report in reports}
        mark = self._mark
        if mark is not None and now - mark.at < _RATE_OVER:
            return self._rates
        self._mark = _Mark(now, written, finished)
        if mark is not None:
            self._rates = {
                queue: Rate(
                    max(0, written[queue] - mark.written[queue]) / (now - mark.at),
                    max(0, finished[queue] - mark.finished[queue]) / (now - mark.at),
                )
                for queue in written.keys() & mark.written.keys()
            }
        return self._rates


class Camera:
    """Takes pictures of one cluster's queues. Used by one thread at a time."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._inspector = Inspector(cluster)
        self._clock = clock
        self._rates = Rates()

    def take(self, queues: Collection[str]) -> Picture:
        """Look at these queues, as far as they exist, and at all others that are known.

        Raises:
            BrokerUnavailable: the cluster does not answer.
        """
        exists, topic_of = self._cluster.topics.exists, self._cluster.names.queue
        there = {queue for queue in queues if exists(topic_of(queue))}
        reports = self._inspector.queues(sorted(there | set(self._inspector.known_queues())))
        return Picture(
            datetime.now(UTC),
            tuple(reports),
            tuple(report for report in self._inspector.delays() if report.waiting),
            self._inspector.poison(),
            self._rates.between(reports, self._clock()),
        )


class Watcher:
    """Looks when asked: one look at a time, shared by all who ask meanwhile. Used by one event loop."""

    def __init__(
        self,
        take: Callable[[Collection[str]], Picture],
        within: float = _WITHIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._take = take
        self._within = within
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "kafka-watcher")
        self._looking: asyncio.Future[Picture] | None = None
        self._ended = 0.0

    async def look(self, queues: Collection[str]) -> Picture:
        """Return a picture that is being taken or was just taken; else have one taken.

        Raises:
            TimeoutError: the cluster is too slow.
            BrokerUnavailable: it does not answer.
        """
        under_way = self._looking
        if under_way is None or (under_way.done() and self._clock() - self._ended > _FRESH):
            under_way = asyncio.get_running_loop().run_in_executor(self._thread, self._take, frozenset(queues))
            under_way.add_done_callback(self._over)
            self._looking = under_way
        return await asyncio.wait_for(asyncio.shield(under_way), self._within)

    def _over(self, look: asyncio.Future[Picture]) -> None:
        self._ended = self._clock()
        if not look.cancelled():
            look.exception()  # Whoever waited has seen it; when nobody does any more it is no matter.
