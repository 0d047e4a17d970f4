"""What a mutation is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A guard taken out: which words of which file become which, and the tests that must notice."""

    promise: str
    file: str
    old: str
    """Stands exactly once in the file."""
    new: str
    tests: str
    """A file or folder of tests, or one test of a file, as pytest names it."""

    @property
    def needs_services(self) -> bool:
        """Whether its tests need PostgreSQL, Kafka or Redis."""
        return not self.tests.startswith("tests/unit/")

    @property
    def needs_own_services(self) -> bool:
        """Whether they need a database that no other run has migrated."""
        return self.file.startswith("migrations/")
