"""What is suspected of exceptions whose delivery did not survive, and when suspicion is enough. Pure.

A process that dies over a batch does not say which exception it died of. So the batch is divided until an exception
is alone; what ends its process again and again when it is alone is guilty. A division costs the innocent nothing but a
message, so it is made at the first death. A conviction is not: processes also die of kills from outside, which say
nothing about what they worked, so those count less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.errors import PermanentError, PoisonError

if TYPE_CHECKING:
    from service.engine.batch import Reference

OWN_ENDS = 3
"""Alone, and by something that only its own work can have caused: so often, and an exception is given up."""

ALL_ENDS = 5
"""The same for ends of any cause. A kill from outside hits one exception alone so often only if somebody means it:
between two tries there are growing waits, while a try takes milliseconds to seconds."""

LONGEST_WAIT_SECONDS = 16.0

SMALLEST_BATCH = 10
"""A smaller one is divided into single exceptions at once."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How one delivery ended without having done its work. It travels in messages and is part of the evidence."""

    how: str
    """For people: `signal 11 (SIGSEGV)`, `exitcode 1`, `time limit of 15 s`, …"""
    own: bool
    """Whether only what was worked can have caused it."""
    worker: str
    at: str
    """When it was noticed, UTC ISO 8601."""
    together: int = 1
    """How many exceptions the delivery had."""

    def to_json(self) -> dict[str, Any]:
        """As it travels and as it is shown."""
        return {
            "how": self.how,
            "own": self.own,
            "worker": self.worker,
            "at": self.at,
            "exceptions": self.together,
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Ending:
        """What `to_json` wrote."""
        return Ending(told["how"], told["own"], told["worker"], told["at"], told["exceptions"])


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What a part of a divided batch carries: where it comes from, and what its exceptions went through together."""

    origin: str
    """The batch that was divided first."""
    part: int
    """Which of its parts: it has a routing key of its own, so that no part waits for another."""
    endings: tuple[Ending, ...] = ()

    def alone(self) -> tuple[Ending, ...]:
        """Ends of deliveries that had one exception only."""
        return tuple(ending for ending in self.endings if ending.together == 1)

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        endings = [ending.to_json() for ending in self.endings]
        return {"origin": self.origin, "part": self.part, "endings": endings}

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Suspicion:
        """What `to_json` wrote."""
        return Suspicion(told["origin"], told["part"], tuple(Ending.from_json(one) for one in told["endings"]))


class WorkerCrashedError(PoisonError):
    """Working an exception ends the process that does it."""

    def __init__(self, endings: Sequence[Ending]) -> None:
        times = "once" if len(endings) == 1 else f"{len(endings)} times"
        super().__init__(
            f"its worker process ended {times} while it worked this exception alone, at last by {endings[-1].how}; "
            "find the cause in the worker's log (the evidence says which worker and when), correct the payload, the "
            "pack or the plug-in, then redrive"
        )


class BatchFaultError(PermanentError):
    """The work on an exception fails as a whole, not only its decision, whenever it is tried."""

    def __init__(self, endings: Sequence[Ending]) -> None:
        super().__init__(
            f"the stage failed on it {len(endings)} times, at last with {endings[-1].how} (the worker's log has the "
            "cause): report it with the exception's id and redrive after the fix"
        )


ERROR = "error "
"""How an ending begins that was no end of a process, but an error that nobody expected."""


def is_enough(alone: Sequence[Ending]) -> bool:
    """Whether these ends convict an exception."""
    return sum(ending.own for ending in alone) >= OWN_ENDS or len(alone) >= ALL_ENDS


def still_needed(alone: Sequence[Ending]) -> int:
    """How many further ends would convict it, at least."""
    return max(0, min(OWN_ENDS - sum(ending.own for ending in alone), ALL_ENDS - len(alone)))


def conviction(alone: Sequence[Ending]) -> WorkerCrashedError | BatchFaultError:
    """What the dead letter says."""
    if all(ending.how.startswith(ERROR) for ending in alone):
        return BatchFaultError(alone)
    return WorkerCrashedError(alone)


def wait_seconds(times: int, jitter: float) -> float:
    """How long an exception waits after it ended its process alone so often; `jitter` is 0 to 1.

    Growing, so that what kills processes from outside has passed by then; jittered, so that exceptions that were
    suspected together do not run together again.
    """
    return float(min(LONGEST_WAIT_SECONDS, 2 ** (times - 1)) * (1 + jitter) / 2)


def divided(references: Sequence[Reference], *, again: bool) -> list[tuple[Reference, ...]]:
    """A batch in parts: about as many parts as each has exceptions, and `again` singly.

    So two ends lead from any batch to single exceptions, also where each costs a worker and its session.
    """
    size = 1 if again or len(references) < SMALLEST_BATCH else math.ceil(math.sqrt(len(references)))
    return [tuple(references[start : start + size]) for start in range(0, len(references), size)]


def evidence(origin: str, stage: str, endings: Iterable[Ending]) -> dict[str, Any]:
    """What the dead letter shows: every end, also those it shared with others."""
    return {"stage": stage, "batch": origin, "ends": [ending.to_json() for ending in endings]}
