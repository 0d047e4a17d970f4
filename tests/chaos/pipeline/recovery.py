"""How long a fault is felt: the longest gap in the flow, and how long what it met took to come to rest. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Struck:
    """When a fault was in force, in seconds since the epoch."""

    fault: str
    began: float
    ended: float
    told: str = ""
    """What exactly was struck."""


@dataclass(frozen=True)
class Recovery:
    """What a fault cost. Seconds."""

    fault: str
    in_force: float
    gap: float
    """The longest time without a resolved exception that began after the strike, or had begun before it."""
    affected: int
    """Exceptions that were under way at the strike, or came in while it was in force."""
    p99: float | None
    """How long they took to come to rest: from the strike, or from their acceptance when that was later."""


def recovery(struck: Struck, resolved: Sequence[float], rests: Sequence[tuple[float, float]], until: float) -> Recovery:
    """`resolved`: when exceptions were, in order; `rests`: accepted and rested; `until`: when the load was over."""
    felt = sorted(
        rested - max(struck.began, accepted)
        for accepted, rested in rests
        if rested > struck.began and accepted < struck.ended
    )
    return Recovery(
        fault=struck.fault,
        in_force=round(struck.ended - struck.began, 2),
        gap=round(_gap(struck.began, [at for at in resolved if at > struck.began], until), 2),
        affected=len(felt),
        p99=round(quantile(felt, 0.99), 2) if felt else None,
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the others do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _gap(began: float, after: Sequence[float], until: float) -> float:
    """While work comes in; when nothing does any more, a gap says nothing."""
    moments = [began, *(at for at in after if at <= until)]
    following = next((at for at in after if at > until), None)
    if following is not None and len(moments) == 1:
        moments.append(following)
    return max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)
