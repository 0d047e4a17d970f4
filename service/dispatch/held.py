"""What the dispatcher does about held work: makes it ready again when it is due."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from service.persistence import holds, pauses
from service.persistence.unit_of_work import unit_of_work

ROUNDS = 10
"""The most statements that one look spends on ended pauses: what is more comes with the next."""


@dataclass(frozen=True, slots=True)
class HeldWork:
    """A chore of the dispatcher. `engine` acts as SYSTEM: held work of every tenant is due alike."""

    engine: Engine

    def __call__(self) -> None:
        """Wake what is due, and what was held by a pause that is over."""
        with unit_of_work(self.engine) as transaction:
            holds.wake(transaction)
        for _ in range(ROUNDS):
            with unit_of_work(self.engine) as transaction:
                if pauses.wake(transaction) < pauses.WAKE_AT_ONCE:
                    break
