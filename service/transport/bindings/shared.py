"""This process's copy of the shared exchanges and bindings, and changing them for everybody.

Nobody follows the log all the time. Before a message is routed the copy is checked if the last check is older than
``bindings_max_age``: one question for the log's end, and only what is new is read. So a copy is never wrong for longer
than that. Before something is declared, deleted, or found to be missing, it is checked at any age.

When the cluster does not answer, the copy serves for as long as a publish may wait for the cluster anyway; after that
the failure is the answer. Every such use is counted as ``bindings_unchecked``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from ..channels.refusals import NotFound, PreconditionFailed
from ..counters import Counters
from ..errors import ConnectionFailed
from .log import REMEMBERS_DELETIONS, Extent
from .table import Binding, Change, Exchange, Route, Table, absent, present

logger = logging.getLogger(__name__)

_READ_ANEW_AFTER = REMEMBERS_DELETIONS / 2
_GONE_AFTER = 10.0
"""For how long the topic must be missing, once it was there, before it is believed that it was deleted."""


class Log(Protocol):
    """The records that all processes write and read in one order."""

    def extent(self) -> Extent:
        """How far it goes now."""

    def read(self, start: int, end: int) -> list[Change]:
        """The records from ``start`` up to ``end`` at least."""

    def append(self, changes: Iterable[Change]) -> None:
        """Write records, and return when they are confirmed."""


class SharedBindings:
    """Safe to use from any thread; whoever finds the copy too old checks it, and the others wait for him."""

    def __init__(
        self,
        log: Log,
        counters: Counters,
        max_age: float,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._counters = counters
        self._max_age = max_age
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._checking = threading.Lock()
        self._changing = threading.RLock()
        self._table = Table()
        self._extent = Extent("", 0)
        self._own: tuple[Extent, list[Change]] = (self._extent, [])
        self._checked = self._failed = -math.inf
        self._missing_since = math.inf

    # -- looking up ----------------------------------------------------------------------------------------------

    def route(self, exchange: str, routing_key: str, max_age: float | None = None) -> tuple[Route, ...]:
        """Return the queues that take a message, by a copy of at most this age (by default the option's).

        Raises:
            ConnectionFailed: the cluster does not answer, and the copy is too old to go on with.
        """
        self._check_if_older(self._max_age if max_age is None else max_age)
        remembered = self._table.remembered(exchange, routing_key)
        if remembered is not None:
            return remembered
        with self._lock:
            return self._table.route(exchange, routing_key)

    def exchange(self, name: str) -> Exchange | None:
        """Return an exchange as this process knows it."""
        return self._table.exchanges.get(name)

    def type_of(self, exchange: str) -> str | None:
        """Return the type of an exchange as this process knows it; None for one that it does not know."""
        return self._table.type_of(exchange)

    def exchanges(self) -> list[Exchange]:
        """Return all exchanges, by a copy not older than the option allows."""
        self._check_if_older(self._max_age)
        with self._lock:
            return list(self._table.exchanges.values())

    def bindings(self, *, exchange: str | None = None, queue: str | None = None) -> list[Binding]:
        """Return the bindings of an exchange, of a queue, or all, by a copy not older than the option allows."""
        self._check_if_older(self._max_age)
        with self._lock:
            return self._table.bindings(exchange=exchange, queue=queue)

    def check(self) -> None:
        """Read what is new, whatever the copy's age. Threads that come together share one check.

        Raises:
            ConnectionFailed: the cluster does not answer.
        """
        asked = self._clock()
        with self._checking:
            if self._checked < asked:
                self._read_what_is_new()

    # -- changing ------------------------------------------------------------------------------------------------

    def declare(self, exchange: Exchange) -> None:
        """Make sure that an exchange exists. Whether it is durable or not makes no difference in Kafka.

        Raises:
            PreconditionFailed: it exists already, and has another type.
        """
        with self._changing:
            self.check()
            missing = self.exchange(exchange.name) is None
            if missing:
                self._write([present(exchange)])
            known = self.exchange(exchange.name)
            if known is None or known.type == exchange.type:
                return
            if missing:
                # Another process was faster. Compaction keeps the newest record, so that must be the valid one.
                self._write([present(known)])
        raise PreconditionFailed(f"exchange {exchange.name!r}", known.type, exchange.type)

    def bind(self, binding: Binding) -> None:
        """Make sure that a binding exists.

        Raises:
            NotFound: there is no such exchange.
        """
        with self._changing:
            self.check()
            if not self._table.has(binding):
                self._write([present(binding)])
            if self._table.type_of(binding.exchange) is None:
                self._write([absent(binding)])
                raise NotFound("exchange", binding.exchange)

    def unbind(self, binding: Binding) -> None:
        """Make sure that a binding does not exist."""
        with self._changing:
            self.check()
            if self._table.has(binding):
                self._write([absent(binding)])

    def delete(self, exchange: str) -> None:
        """Make sure that an exchange does not exist, nor any binding to it."""
        with self._changing:
            self.check()
            known = self.exchange(exchange)
            facts: list[Exchange | Binding] = [*self._table.bindings(exchange=exchange), *([known] if known else ())]
            # Another process may bind a queue until it sees that the exchange is gone.
            while facts:
                self._write([absent(fact) for fact in facts])
                facts = [*self._table.bindings(exchange=exchange)]

    def forget_queue(self, queue: str) -> None:
        """Make sure that nothing is bound to a queue."""
        with self._changing:
            self.check()
            if bound := self._table.bindings(queue=queue):
                self._write([absent(binding) for binding in bound])

    # -- inside --------------------------------------------------------------------------------------------------

    def _write(self, changes: list[Change]) -> None:
        known = self._extent
        self._log.append(changes)
        self._counters.add("bindings_written", len(changes))
        self._own = (known, changes)
        self.check()

    def _check_if_older(self, max_age: float) -> None:
        now = self._clock()
        too_old = now - self._checked > max_age + self._patience
        if now - self._checked <= max_age or (now - self._failed <= max_age and not too_old):
            return
        try:
            self.check()
        except ConnectionFailed as failure:
            self._failed = self._clock()
            self._counters.add("bindings_unchecked")
            if too_old:
                raise
            logger.warning("the bindings known %.1f s ago are used unchecked: %s", now - self._checked, failure)

    def _read_what_is_new(self) -> None:
        """Bring the copy up to date. One thread at a time."""
        begun = self._clock()
        self._counters.add("bindings_checks")
        extent = self._log.extent()
        self._doubt_a_missing_log(extent, begun)
        replaced = extent.log != self._extent.log and self._extent.log != ""
        if replaced:
            logger.warning("the topic of the shared bindings was deleted or made anew: it is read from its start")
        anew = replaced or extent.end < self._extent.end or begun - self._checked > _READ_ANEW_AFTER
        self._take(extent, 0 if anew else self._extent.end)
        self._checked = begun

    def _doubt_a_missing_log(self, extent: Extent, now: float) -> None:
        """A broker that has just started may not know its topics yet: the copy is better than its word."""
        if extent.log or not self._extent.log:
            self._missing_since = math.inf
            return
        self._missing_since = min(self._missing_since, now)
        if now - self._missing_since < _GONE_AFTER:
            raise ConnectionFailed(
                "the topic of the shared bindings is missing; was it deleted, or did a broker start?"
            )

    def _take(self, extent: Extent, start: int) -> None:
        known, own = self._own
        changes: list[Change] = []
        if known is self._extent and extent.end == start + len(own):
            changes = own
        elif extent.end > start:
            self._counters.add("bindings_reads")
            changes = self._log.read(start, extent.end)
        with self._lock:
            table = self._table if start == self._extent.end else Table()
            skipped = sum(not table.apply(*change) for change in changes)
            self._table, self._extent = table, extent
        if skipped:
            self._counters.add("bindings_skipped", skipped)
