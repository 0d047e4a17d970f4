"""What a seed decides: for each round the moment, who is killed, and what is under way. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.effects.witness import Moment

_LARGE = 120_000
_SMALL = 10


@dataclass(frozen=True)
class Round:
    """One fault and the exceptions that are under way when it strikes."""

    number: int
    moment: Moment
    whole_worker: bool
    """Kill the worker with its pool; otherwise only the pool's processes, which the worker replaces."""
    idempotent: int
    """How many exceptions call the tool that recognises a repeated key."""
    others: int
    """How many call the tool that works every call it gets."""
    filler: int
    """Bytes in each request."""


def rounds(seed: int, count: int) -> Iterator[Round]:
    """The rounds of a seed. Any seven in a row meet every moment."""
    chance = random.Random(seed)
    moments: list[Moment] = []
    for number in range(count):
        if not moments:
            moments = chance.sample(list(Moment), len(Moment))
        moment = moments.pop()
        yield Round(
            number=number,
            moment=moment,
            whole_worker=chance.random() < 0.25,
            idempotent=chance.randint(1, 4),
            others=chance.randint(1, 4),
            filler=_LARGE if moment is Moment.HALFWAY else _SMALL,
        )
