"""Delayed messages: where a message that is due later waits, and when it moves on. Pure.

A message due within the *horizon* waits in the topic ``_soon``. Its partitions are the slots of a timing wheel: what is
due within the same second or so shares a slot, so that only the slots that are about to open need to be read, and what
is due next never queues behind what is due later. A message due later waits on a *level*: a topic in which everything
waits equally long, so that the oldest record is always the next one to go. From a level it moves to the longest level
that still fits, and in the end to ``_soon``. Headers carry where to and when, so whoever reads a record needs to know
neither the levels nor the wheel it was put on by.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..errors import Undecodable
from ..names import Names
from ..options import Options
from ..records import Headers, Record, header

_DUE = "kombu-delay-due"
_TARGET = "kombu-delay-target"
_RELEASE = "kombu-delay-release"
_TRIES = "kombu-delay-tries"
_OWN = frozenset({_DUE, _TARGET, _RELEASE, _TRIES})

SLOTS = 16
"""Slots of the wheel, that is partitions of ``_soon``."""
_SLACK = 4.0
"""How far apart the clocks of publishers and movers may be before slots of different rounds meet."""
_MARGIN = 1.0
"""A level is left at least this long before a message is due: a level that is late makes no message late."""


@dataclass(frozen=True, slots=True)
class Parked:
    """What the headers of a waiting record say. Times are seconds since 1970."""

    target: str
    due: float
    release: float
    tries: int = 0
    """How often its target did not take it."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next place of a message, and when it may leave it."""

    topic: str
    release: float
    slot: int | None = None
    """Which slot of the wheel: the partition is this modulo the topic's partitions. None: the key decides."""


class Route:
    """Decides where a message that is due at some time waits next."""

    def __init__(self, options: Options, names: Names) -> None:
        self._threshold = options.delay_threshold
        self._horizon = options.delay_horizon
        self._soon = names.soon()
        self._levels = [(seconds, names.level(seconds)) for seconds in sorted(options.delay_levels, reverse=True)]
        longest = max(options.delay_horizon, options.delay_levels[0] + _MARGIN)
        self._width = (longest + _SLACK) / (SLOTS - 1)

    @property
    def soon(self) -> str:
        """Topic of what is due within the horizon."""
        return self._soon

    @property
    def levels(self) -> list[str]:
        """Topics of what is due later."""
        return [topic for _, topic in self._levels]

    @property
    def topics(self) -> list[str]:
        """Every topic in which messages wait."""
        return [self._soon, *self.levels]

    @property
    def subscription(self) -> list[str]:
        """What a mover reads: also levels that are not configured any more, as long as their topics exist.

        One pattern, and no names beside it: that makes librdkafka wait two seconds before it joins.
        """
        prefix = re.escape(self._soon.removesuffix("soon")).replace(r"\-", "-")
        return [rf"^{prefix}(soon|wait\.[0-9]+)$"]

    def step(self, due: float, now: float) -> Step | None:
        """Return where to wait next; None when the message may go to its queue now."""
        left = due - now
        if left <= self._threshold:
            return None
        if left > self._horizon:
            for seconds, topic in self._levels:
                if seconds + _MARGIN <= left:
                    return Step(topic, now + seconds)
        return self._slot(math.floor(due / self._width))

    def again(self, seconds: float, now: float) -> Step:
        """Return where to wait for another try in ``seconds``, at most the horizon."""
        return self._slot(math.ceil((now + min(seconds, self._horizon)) / self._width))

    def _slot(self, number: int) -> Step:
        return Step(self._soon, number * self._width, number)


def due_time(message: dict[str, Any]) -> float | None:
    """Return when a message asks to be delivered (Celery's ``eta`` header); None when it does not.

    A time without a zone is UTC, as Celery takes it.
    """
    eta = (message.get("headers") or {}).get("eta")
    if not eta:
        return None
    try:
        moment = eta if isinstance(eta, datetime) else datetime.fromisoformat(str(eta))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def park(record: Record, target: str, due: float, release: float, tries: int = 0) -> Record:
    """Write onto a record where it goes, and when."""
    told: Headers = [(_DUE, repr(due).encode()), (_TARGET, target.encode()), (_RELEASE, repr(release).encode())]
    tried: Headers = [(_TRIES, b"%d" % tries)] if tries else []
    return Record(record.key, record.value, [*unpark(record).headers, *told, *tried])


def unpark(record: Record) -> Record:
    """Return the record as it was published."""
    return Record(record.key, record.value, [pair for pair in record.headers if pair[0] not in _OWN])


def read_parked(headers: Headers) -> Parked:
    """Read where a waiting record goes.

    Raises:
        Undecodable: the record was not written by :func:`park`.
    """
    target = header(headers, _TARGET)
    try:
        due, release = float(header(headers, _DUE)), float(header(headers, _RELEASE))
        parked = Parked(target, due, release, int(header(headers, _TRIES) or 0))
    except ValueError as damage:
        raise Undecodable(f"it waits on a delay topic without a due time: {damage}") from damage
    if not target or not (math.isfinite(due) and math.isfinite(release)):
        raise Undecodable("it waits on a delay topic without a target, or for ever")
    return parked
