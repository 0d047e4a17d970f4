"""The repository of the reconciler: what does not move, found and made ready again. It never commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.domain.exceptions import ENTRY_STAGE
from service.persistence.statements import reconciliation as sql
from service.persistence.unit_of_work import Transaction, as_json

WINDOW = 2000
"""The most exceptions of a stage that are out as repeats at once, and the most that other kinds move in one look."""

MOST_SUSPECTS = 20_000
"""The most of a stage that are suspected at once, so that no look writes more than this."""

LONGEST_WAIT_SECONDS = 600.0
"""An exception that does not move is made ready again after waits that double up to this."""

_ENTRY_STAGES = as_json({kind.value: int(stage) for kind, stage in ENTRY_STAGE.items()})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that a person has to look at."""

    kind: str
    found: int
    examples: tuple[str, ...]
    is_news: bool
    """The look before found another number."""


class Reconciliation:
    """One look of the reconciler, inside a transaction that acts as SYSTEM."""

    def __init__(self, transaction: Transaction, after_seconds: float, now: datetime) -> None:
        self._transaction = transaction
        self._now = now
        self._parameters = {
            "now": now,
            "after": after_seconds,
            "window": WINDOW,
            "most": MOST_SUSPECTS,
            "longest": LONGEST_WAIT_SECONDS,
            "entry_stages": _ENTRY_STAGES,
        }

    def suspect(self) -> int:
        """Note what should be moving and cannot be seen to; how much was not noted before."""
        return self._transaction.run(sql.SUSPECT, self._parameters)

    def make_ready(self) -> Mapping[str, int]:
        """Put back what has to move; how much, by kind."""
        self._transaction.run(sql.ORPHANS, self._parameters)
        done: Counter[str] = Counter()
        for statement in (sql.RELANE, sql.MAKE_READY, sql.OPEN_GATES, sql.REMIND):
            done.update(row.kind for row in self._transaction.rows(statement, self._parameters))
        return dict(done)

    def faults(self) -> Sequence[Fault]:
        """What making ready does not mend, counted and noted for the metrics; kinds of which there is none too."""
        rows = self._transaction.rows(sql.FIND_FAULTS, self._parameters)
        noted = as_json([{"kind": row.kind, "found": row.found} for row in rows])
        before = self._transaction.rows(sql.NOTE_FAULTS, {"faults": noted, "now": self._now})
        found_before = {row.kind: row.found_before for row in before}
        return [
            Fault(row.kind, row.found, tuple(row.examples or ()), row.found != found_before.get(row.kind))
            for row in rows
        ]


def take_turn(transaction: Transaction, chore: str, holder: str, lease_seconds: float) -> bool:
    """Whether a chore is due and nobody else has it; it is this holder's then, for so long at most."""
    turn = {"name": chore, "holder": holder, "lease": lease_seconds}
    return bool(transaction.rows(sql.TAKE_TURN, turn))


def end_turn(transaction: Transaction, chore: str, holder: str, took_seconds: float, again_seconds: float) -> None:
    """Give a chore back; it is due again after so many seconds."""
    turn = {"name": chore, "holder": holder, "seconds": took_seconds, "again": again_seconds}
    transaction.run(sql.END_TURN, turn)
