"""The pipeline's promises as SQL: each function names what breaks one, and an empty answer is the proof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.persistence.unit_of_work import Transaction

_APPLIED_TWICE = """
SELECT exception_id, sequence, type, count(*) FROM events
 WHERE tenant_id = %(tenant)s
   AND type IN ('ExceptionIngested', 'ExceptionNormalized', 'TriageCompleted', 'PolicyEvaluationCompleted',
                'PlaybookMatched', 'ToolExecutionCompleted', 'ExceptionResolved')
 GROUP BY exception_id, sequence, type HAVING count(*) > 1
"""

_GAPS = """
SELECT exception_id, count(*), max(position) FROM events
 WHERE tenant_id = %(tenant)s GROUP BY exception_id HAVING count(*) <> max(position)
"""

_BACKWARDS = """
SELECT * FROM (
    SELECT exception_id, position, sequence, stage,
           lag(sequence) OVER w AS sequence_before, lag(stage) OVER w AS stage_before
      FROM events WHERE tenant_id = %(tenant)s AND type <> 'ExceptionUpdated'
    WINDOW w AS (PARTITION BY exception_id ORDER BY position)) AS step
 WHERE sequence < sequence_before OR (sequence = sequence_before AND stage < stage_before)
"""

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
    parameters = {"tenant": tenant_id}
    statements = {
        "worked twice": _APPLIED_TWICE,
        "events missing": _GAPS,
        "out of order": _BACKWARDS,
        "left in the outbox": _OUTBOX,
        "waits for a person without a reason": _IN_DOUBT,
    }
    found = {promise: transaction.rows(statement, parameters) for promise, statement in statements.items()}
    return {promise: rows for promise, rows in found.items() if rows}
