"""The pipeline's promises as SQL: each function names what breaks one, and an empty answer is the proof.

What is about the event log alone is shared with the chaos rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.persistence.unit_of_work import Transaction
from tests.chaos.pipeline import statements as sql

_LOST = """
SELECT a.id FROM unnest(%(ids)s::uuid[]) AS a(id)
  LEFT JOIN exceptions e ON e.exception_id = a.id
 WHERE e.exception_id IS NULL OR e.status IN ('RECEIVED', 'IN_PROGRESS')
"""

_OUTBOX = "SELECT exception_id FROM outbox WHERE tenant_id = %(tenant)s"

_IN_DOUBT = """
SELECT e.exception_id FROM exceptions e
 WHERE e.tenant_id = %(tenant)s AND e.status = 'PENDING_STEP'
   AND NOT EXISTS (SELECT FROM tool_executions t WHERE t.exception_id = e.exception_id AND t.state = 'unknown')
"""


def lost(transaction: Transaction, accepted: Sequence[str]) -> Sequence[Any]:
    """Accepted exceptions that are not there, or that nothing has finished."""
    return transaction.rows(_LOST, {"ids": list(accepted)})


def broken_promises(transaction: Transaction, tenant_id: str) -> dict[str, Sequence[Any]]:
    """What breaks a promise on one tenant's exceptions, by promise; {} when all are kept."""
    parameters = {"tenant": tenant_id, "tenants": [tenant_id]}
    statements = {
        "worked twice": sql.APPLIED_TWICE,
        "events missing": sql.GAPS,
        "out of order": sql.BACKWARDS,
        "left in the outbox": _OUTBOX,
        "waits for a person without a reason": _IN_DOUBT,
    }
    found = {promise: transaction.rows(statement, parameters) for promise, statement in statements.items()}
    return {promise: rows for promise, rows in found.items() if rows}
