"""What a seed decides: the rounds, their faults and moments, and everything that the load does. Pure.

A round is decided by its seed and number alone, so it can be met again without the rounds before it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.pipeline.kinds import POISON, Kind, Said

_SECOND_FAULT = 0.25
"""How often a round has two."""
_MIX = {
    Kind.STRAIGHT: 34,
    Kind.BATCH: 15,
    Kind.INTERNAL: 10,
    Kind.ONCE: 12,
    Kind.SLOW: 6,
    Kind.APPROVAL: 8,
    Kind.MANUAL: 6,
    Kind.TRANSIENT: 6,
    Kind.PERMANENT: 5,
}
_BULK = (5, 40)
_BULK_SHARE = 0.5
_TWICE = 0.15
"""How often a source sends a request twice although it was answered."""
_STRANGE = 0.25
"""How often a source names an exception of another tenant."""


@dataclass(frozen=True)
class Scale:
    """How much a round is."""

    exceptions: int = 300
    seconds: float = 14.0
    """How long they come in."""
    tenants: int = 3


@dataclass(frozen=True)
class Strike:
    """One fault: when it strikes after the load began, how long it is left in force, and its own chance."""

    fault: str
    at: float
    lasts: float
    seed: str


@dataclass(frozen=True)
class Later:
    """What is said of an exception some seconds after it was accepted."""

    said: Said
    after: float


@dataclass(frozen=True)
class Planned:
    """An exception that a source will report."""

    ref: str
    kind: Kind
    later: tuple[Later, ...] = ()


@dataclass(frozen=True)
class Post:
    """One request of a tenant's source: a single exception or many at once."""

    at: float
    tenant: int
    key: str
    exceptions: tuple[Planned, ...]
    bulk: bool
    twice: bool = False
    """It is sent again under the same key although it was answered."""
    strange: bool = False
    """Afterwards the source speaks of an exception that is another tenant's."""


@dataclass(frozen=True)
class Round:
    """One round of a seed."""

    seed: int
    number: int
    strikes: tuple[Strike, ...]
    posts: tuple[Post, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of what strikes."""
        return tuple(strike.fault for strike in self.strikes)

    @property
    def name(self) -> str:
        """Names the round among all."""
        return f"{self.seed}-{self.number}"


def round_of(seed: int, number: int, faults: Sequence[str], scale: Scale) -> Round:
    """The round of this number, from 1. Any len(faults) rounds in a row meet every fault.

    A fault called `poison-…` is poison in the load: nothing strikes, and one of its kind comes in at that time.
    """
    chance = random.Random(f"{seed}/{number}")
    names = [_dealt(seed, number, faults)]
    if len(faults) > 1 and chance.random() < _SECOND_FAULT:
        names.append(chance.choice([name for name in sorted(faults) if name != names[0]]))
    return exact_round(seed, number, names, scale)


def exact_round(seed: int, number: int, names: Sequence[str], scale: Scale) -> Round:
    """The round of a seed and number with exactly these faults."""
    chance = random.Random(f"{seed}/{number}/strikes")
    strikes = [
        Strike(
            name,
            at=round(chance.uniform(0.15, 0.5) * scale.seconds + place * 0.25 * scale.seconds, 2),
            lasts=round(chance.uniform(1.0, 4.0), 2),
            seed=f"{seed}/{number}/{name}",
        )
        for place, name in enumerate(names)
    ]
    return Round(seed, number, tuple(strikes), tuple(_posts(seed, number, strikes, scale)))


def _dealt(seed: int, number: int, faults: Sequence[str]) -> str:
    """Faults are dealt as cards are: each once before any comes again."""
    deck, place = divmod(number - 1, len(faults))
    return random.Random(f"{seed}/deck/{deck}").sample(sorted(faults), len(faults))[place]


def _posts(seed: int, number: int, strikes: Sequence[Strike], scale: Scale) -> list[Post]:
    chance = random.Random(f"{seed}/{number}/load")
    posts: list[Post] = []
    left = scale.exceptions
    while left > 0:
        bulk = chance.random() < _BULK_SHARE
        size = min(left, chance.randint(*_BULK) if bulk else 1)
        left -= size
        posts.append(_post(chance, f"{number}-{len(posts)}", size, bulk, scale))
    poisoned = [strike for strike in strikes if strike.fault.startswith("poison-")]
    posts += [_poison(chance, f"{number}-p{place}", strike, scale) for place, strike in enumerate(poisoned)]
    return sorted(posts, key=lambda post: post.at)


def _post(chance: random.Random, key: str, size: int, bulk: bool, scale: Scale) -> Post:
    kinds = chance.choices(list(_MIX), list(_MIX.values()), k=size)
    return Post(
        at=round(chance.uniform(0, scale.seconds), 2),
        tenant=chance.randrange(scale.tenants),
        key=key,
        exceptions=tuple(
            Planned(f"{key}-{place}", kind, tuple(_later(chance, kind))) for place, kind in enumerate(kinds)
        ),
        bulk=bulk,
        twice=chance.random() < _TWICE,
        strange=chance.random() < _STRANGE,
    )


def _poison(chance: random.Random, key: str, strike: Strike, scale: Scale) -> Post:
    """The poison in the middle of a batch of innocent ones."""
    innocent = [Planned(f"{key}-{place}", Kind.STRAIGHT) for place in range(12)]
    innocent.insert(6, Planned(f"{key}-poison", next(kind for kind in POISON if kind == strike.fault)))
    return Post(strike.at, chance.randrange(scale.tenants), key, tuple(innocent), bulk=True)


def _later(chance: random.Random, kind: Kind) -> list[Later]:
    """What is said of one: comments in quick succession for the order, and what its kind waits for."""
    said = [Later(Said.COMMENT, round(chance.uniform(0, 3), 2)) for _ in range(chance.choice([0, 0, 0, 0, 1, 2]))]
    if kind is Kind.APPROVAL:
        decision = chance.choices([Said.APPROVE, Said.REJECT, None], [6, 2, 2])[0]
        said += [] if decision is None else [Later(decision, round(chance.uniform(0.2, 3), 2))]
    elif kind is Kind.MANUAL and chance.random() < 0.7:
        said.append(Later(Said.COMPLETE, round(chance.uniform(0.2, 3), 2)))
    elif kind is Kind.PERMANENT:
        decision = chance.choices([Said.REDRIVE, Said.DISCARD, None], [4, 3, 3])[0]
        said += [] if decision is None else [Later(decision, round(chance.uniform(0.5, 4), 2))]
    elif kind not in (Kind.APPROVAL, Kind.MANUAL):
        other = chance.choices([None, Said.UPDATED, Said.CANCEL], [85, 10, 5])[0]
        said += [] if other is None else [Later(other, round(chance.uniform(0, 4), 2))]
    return sorted(said, key=lambda later: later.after)
