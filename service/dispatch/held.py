"""What the dispatcher does about held work: makes it ready again when it is due."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from service.persistence import holds
from service.persistence.unit_of_work import unit_of_work


@dataclass(frozen=True, slots=True)
class HeldWork:
    """A chore of the dispatcher. `engine` acts as SYSTEM: held work of every tenant is due alike."""

    engine: Engine

    def __call__(self) -> None:
        """Wake what is due."""
        with unit_of_work(self.engine) as transaction:
            holds.wake(transaction)
