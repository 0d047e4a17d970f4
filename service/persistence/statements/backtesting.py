"""Statements of backtests: what was received last, and what was decided about it. Nothing is locked or written."""

from __future__ import annotations

NEWEST = """
-- Ids are UUIDv7, so their order is that of receipt; pages along exceptions_by_tenant.
SELECT exception_id FROM exceptions
 WHERE tenant_id = %(tenant)s AND (%(type)s::text IS NULL OR exception_type = %(type)s)
 ORDER BY exception_id DESC
 LIMIT %(limit)s
"""

DECIDED = """
-- From the log, for the row tells only the newest values and neither when nor whether a person was asked. A row
-- that is dead-lettered tells why.
SELECT e.exception_id, v.facts, p.sequence AS plan_sequence, p.document AS plan, d.stage AS failed_stage, d.error_class,
       d.message
  FROM exceptions e
  LEFT JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_array(v.type, v.sequence, v.occurred_at, v.data) ORDER BY v.position) AS facts
         FROM events v
        WHERE v.exception_id = e.exception_id AND v.occurred_at >= e.received_at - interval '1 day'
          AND v.type IN ('ExceptionIngested', 'TriageCompleted', 'PolicyEvaluationCompleted')
       ) v ON true
  LEFT JOIN LATERAL (
       SELECT sequence, document FROM plans p WHERE p.exception_id = e.exception_id ORDER BY sequence DESC LIMIT 1
       ) p ON true
  LEFT JOIN LATERAL (
       SELECT stage, error_class, message FROM dead_letters d
        WHERE d.exception_id = e.exception_id AND e.status = 'DEAD_LETTERED' ORDER BY position DESC LIMIT 1
       ) d ON true
 WHERE e.tenant_id = %(tenant)s AND e.exception_id = ANY(%(ids)s::uuid[])
"""
