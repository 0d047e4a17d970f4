"""Rotation: everything that is sealed moves to the key that seals now, batch by batch, while the fleet works.

Each batch is a transaction of its own, and what is done is told by its envelope: a rotation that was broken off goes
on where it was. A value that cannot be opened is left as it is and told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Row

from service.errors import ConfigurationError, PermanentError, TransientError
from service.persistence.sealing import PAYLOAD, Sealing, input_slot
from service.persistence.statements import sealing as statements
from service.persistence.unit_of_work import Transaction, as_bytea, as_json, unit_of_work

BATCH = 500
_NOBODY = UUID(int=0)
_MOST_NAMED = 20


@dataclass(slots=True)
class Rotation:
    """What a rotation did so far."""

    to_do: int = 0
    """Values that were under another key, or none, when it began."""
    resealed: int = 0
    failed: int = 0
    """Values that could not be opened; they are as they were."""
    named: list[str] = field(default_factory=list)
    """Exceptions of the first that failed, each with its cause."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One column of sealed values."""

    lock: str
    write: str
    slot: Callable[[int], str]


_KINDS = (
    _Kind(statements.LOCK_PAYLOADS, statements.RESEAL_PAYLOADS, lambda _: PAYLOAD),
    _Kind(statements.LOCK_INPUTS, statements.RESEAL_INPUTS, input_slot),
)


def rotate(
    engine: Engine,
    sealing: Sealing,
    progress: Callable[[Rotation], None],
    tenant_id: str | None = None,
    batch: int = BATCH,
) -> Rotation:
    """Move the sealed values of a tenant, or of all, to the first key. `progress` is told after each batch.

    `engine` sees all tenants. Raises ConfigurationError when there is no key to move to.
    """
    if sealing.current is None:
        raise ConfigurationError("SENTINAI_PAYLOAD_KEYS names no key to seal with; set one, the new one first")
    done = Rotation(to_do=left(engine, sealing, tenant_id))
    parameters = {"header": sealing.header, "tenant": tenant_id, "limit": batch}
    for kind in _KINDS:
        after, sequence = _NOBODY, 0
        while True:
            with unit_of_work(engine) as transaction:
                place = {"after": str(after), "after_sequence": sequence}
                rows = transaction.rows(kind.lock, parameters | place)
                _write(transaction, kind, rows, sealing, done)
            if not rows:
                break
            after, sequence = rows[-1].exception_id, rows[-1].sequence
            progress(done)
    return done


def left(engine: Engine, sealing: Sealing, tenant_id: str | None = None) -> int:
    """How many values of a tenant, or of all, are under another key, or none."""
    parameters = {"header": sealing.header, "tenant": tenant_id}
    with unit_of_work(engine) as transaction:
        return sum(
            int(transaction.rows(statement, parameters)[0].number)
            for statement in (statements.PAYLOADS_LEFT, statements.INPUTS_LEFT)
        )


def _write(transaction: Transaction, kind: _Kind, rows: Sequence[Row[Any]], sealing: Sealing, done: Rotation) -> None:
    moved: list[dict[str, Any]] = []
    for row in rows:
        slot = kind.slot(row.sequence)
        try:
            sealed = sealing.reseal(row.tenant_id, row.exception_id.bytes, slot, row.sealed)
        except (PermanentError, TransientError) as error:
            done.failed += 1
            if len(done.named) < _MOST_NAMED:
                done.named.append(f"{row.exception_id} ({slot}): {error}")
            continue
        moved.append({"exception_id": row.exception_id, "sequence": row.sequence, "sealed": as_bytea(sealed)})
    if moved:
        transaction.run(kind.write, {"rows": as_json(moved)})
        done.resealed += len(moved)
