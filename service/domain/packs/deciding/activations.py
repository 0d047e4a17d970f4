"""Which version of a pack is in force at a moment, told from the activations on record.

An activation is either *immediate*: in force for everything that is not decided yet, whenever it was
received; or *scheduled*: in force for what is received from its instant on. The two together are one rule,
`in_force`, and everybody who asks for a pack's version asks it here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Activation:
    """One activation that was not withdrawn."""

    number: int
    """Its place in the pack's history, from 1."""
    version: int
    effective_at: datetime
    immediate: bool
    domain_name: str | None = None
    """Of a tenant pack: the domain that this version names."""


def standing(activations: Iterable[Activation]) -> tuple[Activation, ...]:
    """The newest immediate activation, if there is one, then the scheduled ones that it did not overtake."""
    known = list(activations)
    floor = max((one for one in known if one.immediate), key=lambda one: one.number, default=None)
    if floor is None:
        return tuple(sorted(known, key=_order))
    later = [one for one in known if not one.immediate and _order(one) > _order(floor)]
    return (floor, *sorted(later, key=_order))


def in_force(ordered: Sequence[Activation], received_at: datetime, now: datetime) -> Activation | None:
    """The one of the `standing` activations that decides what was received at `received_at` and is not decided yet.

    The newest immediate activation is the floor; scheduled ones later than it count from their instants. What
    was received before any version was in force is decided by the first that is in force by now. None: there is none.
    """
    if not ordered:
        return None
    floor = ordered[0]
    if not floor.immediate and received_at < floor.effective_at:
        return floor if floor.effective_at <= now else None
    deciding = floor
    for later in ordered[1:]:
        if later.effective_at > received_at:
            break
        deciding = later
    return deciding


def scheduled(ordered: Iterable[Activation], now: datetime) -> list[Activation]:
    """Those of the `standing` activations that are still to come."""
    return [one for one in ordered if not one.immediate and one.effective_at > now]


def _order(activation: Activation) -> tuple[datetime, int]:
    return activation.effective_at, activation.number
