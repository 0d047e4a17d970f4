"""What a mutation is."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """Words of a file that become others."""

    file: str
    old: str
    """Stands exactly once in the file."""
    new: str


@dataclass(frozen=True)
class ChaosRound:
    """A round of `sentinai chaos run` that must turn red, and how."""

    faults: str
    """What strikes, by comma; empty: nothing has to break for it to show."""
    red: str
    """Every invariant that must turn red: `L2` or `L2, L3`."""
    follows: str = ""
    """What may turn red as well, for it follows from that in some rounds. No other may."""
    seed: int = 1
    exceptions: int = 150
    seconds: int = 8
    """They come in within so many."""
    patience: int = 120
    """Seconds within which everything is at rest; what is lost is waited for in vain for so long."""

    def noticed(self, said: str) -> bool:
        """Whether the round, by the last line of its output that tells, turned red for what it should have."""
        told = re.findall(r"red: (.*)$", said, re.MULTILINE)
        red, must = _listed(told[-1] if told else ""), _listed(self.red)
        return must <= red <= must | _listed(self.follows)


@dataclass(frozen=True)
class Mutation:
    """A guard taken out: which words of which file become which, and the tests that must notice."""

    promise: str
    file: str
    old: str
    """Stands exactly once in the file."""
    new: str
    tests: str
    """A file or folder of tests, or one test of a file, as pytest names it. With `round` only the code it is about."""
    also: tuple[Change, ...] = ()
    """Further guards that have to go with it: where two catch the same, one alone is not missed."""
    round: ChaosRound | None = None
    """What must notice instead of pytest. Takes minutes."""

    @property
    def changes(self) -> tuple[Change, ...]:
        """Everything that is taken out."""
        return (Change(self.file, self.old, self.new), *self.also)

    @property
    def needs_services(self) -> bool:
        """Whether its tests need PostgreSQL, Kafka or Redis to be there. A round brings its own."""
        return self.round is None and not self.tests.startswith("tests/unit/")

    @property
    def needs_own_services(self) -> bool:
        """Whether they need a database that no other run has migrated."""
        return self.round is not None or self.file.startswith("migrations/")


def _listed(names: str) -> frozenset[str]:
    return frozenset(name for name in names.split(", ") if name)
