"""The judge: what the database says happened, against what the witness saw. Every list must be empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from service.persistence.unit_of_work import unit_of_work
from tests.chaos.effects.witness import IDEMPOTENT_TOOL, Witness
from tests.integration.verdicts import broken_promises

_EFFECTS = """
SELECT t.idempotency_key::text AS key, t.exception_id::text AS id, t.tool, t.state, t.attempt, e.status
  FROM tool_executions t JOIN exceptions e USING (exception_id)
 WHERE t.tenant_id = %(tenant)s ORDER BY t.exception_id
"""


@dataclass(frozen=True)
class Effect:
    """A row of the effect ledger, where its exception is, and what the witness knows of it."""

    key: str
    exception_id: str
    tool: str
    state: str
    attempt: int
    status: str
    worked: int
    received: int


def effects(system: Engine, tenant_id: str, witness: Witness) -> list[Effect]:
    """Every effect of a tenant."""
    with unit_of_work(system) as transaction:
        rows = transaction.rows(_EFFECTS, {"tenant": tenant_id})
    return [
        Effect(r.key, r.id, r.tool, r.state, r.attempt, r.status, witness.worked(r.key), witness.received(r.key))
        for r in rows
    ]


def broken(system: Engine, tenant_id: str, found: Sequence[Effect], accepted: int) -> dict[str, list[Any]]:
    """What breaks a promise, by promise; {} when all are kept."""
    lists = {promise: [effect for effect in found if wrong(effect)] for promise, wrong in _promises()}
    lists["every exception has exactly one effect"] = [] if len(found) == accepted else [len(found), accepted]
    with unit_of_work(system) as transaction:
        lists |= {promise: list(rows) for promise, rows in broken_promises(transaction, tenant_id).items()}
    return {promise: rows for promise, rows in lists.items() if rows}


def _promises() -> Iterator[tuple[str, Callable[[Effect], bool]]]:
    yield "no effect happens twice", lambda e: e.worked > 1
    yield "a call that must not be repeated is sent once", lambda e: e.tool != IDEMPOTENT_TOOL and e.received > 1
    yield "what is confirmed happened", lambda e: e.state == "confirmed" and e.worked != 1
    yield "what may be repeated comes to its end", lambda e: e.tool == IDEMPOTENT_TOOL and e.status != "RESOLVED"
    yield "resolved means confirmed", lambda e: e.status == "RESOLVED" and e.state != "confirmed"
    yield "what is in doubt waits for a person", lambda e: (e.state == "unknown") != (e.status == "PENDING_STEP")
    yield "nothing is left as sent", lambda e: e.state in ("sent", "intent")
