"""Delayed messages: where a message that is due later waits, and when it moves on. Pure.

A message due within the *horizon* waits in the topic ``_soon``; its mover keeps a bounded number of such records in
memory, sorted by due time. A message due later waits on a *level*: a topic in which everything waits equally long, so
that the oldest record is always the next one to go and nothing else is held in memory. From a level it moves to the
largest level that still fits, and in the end to ``_soon``. Headers carry where and when to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .errors import Undecodable
from .names import Names
from .options import Options
from .records import Headers, Record, header

_DUE = "kombu-delay-due"
_TARGET = "kombu-delay-target"
_RELEASE = "kombu-delay-release"
_OWN = frozenset({_DUE, _TARGET, _RELEASE})


@dataclass(frozen=True, slots=True)
class Parked:
    """What the headers of a waiting record say. Times are seconds since 1970."""

    target: str
    due: float
    release: float


@dataclass(frozen=True, slots=True)
class Step:
    """The next place of a message, and when it may leave it."""

    topic: str
    release: float


class Route:
    """Decides where a message that is due at some time waits next."""

    def __init__(self, options: Options, names: Names) -> None:
        self._threshold = options.delay_threshold
        self._horizon = options.delay_horizon
        self._soon = names.soon()
        self._levels = [(seconds, names.level(seconds)) for seconds in sorted(options.delay_levels, reverse=True)]

    @property
    def soon(self) -> str:
        """Topic of what is due within the horizon."""
        return self._soon

    @property
    def topics(self) -> list[str]:
        """Every topic in which messages wait."""
        return [self._soon, *(topic for _, topic in self._levels)]

    def step(self, due: float, now: float) -> Step | None:
        """Return where to wait next; None when the message may go to its queue now."""
        left = due - now
        if left <= self._threshold:
            return None
        if left > self._horizon:
            for seconds, topic in self._levels:
                if seconds <= left:
                    return Step(topic, now + seconds)
        return Step(self._soon, due)


def due_time(message: dict[str, Any]) -> float | None:
    """Return when a message asks to be delivered (Celery's ``eta`` header); None when it does not."""
    eta = (message.get("headers") or {}).get("eta")
    if not eta:
        return None
    try:
        moment = eta if isinstance(eta, datetime) else datetime.fromisoformat(str(eta))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def park(record: Record, target: str, due: float, release: float) -> Record:
    """Write onto a record where it goes, and when."""
    told: Headers = [(_DUE, repr(due).encode()), (_TARGET, target.encode()), (_RELEASE, repr(release).encode())]
    return Record(record.key, record.value, [*unpark(record).headers, *told])


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
        parked = Parked(target, float(header(headers, _DUE)), float(header(headers, _RELEASE)))
    except ValueError as damage:
        raise Undecodable(f"it waits on a delay topic without a due time: {damage}") from damage
    if not target:
        raise Undecodable("it waits on a delay topic without a target")
    return parked
