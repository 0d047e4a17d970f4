"""Statements that only read: for people, scripts and the ledger. None of them locks anything."""

from __future__ import annotations

RETRYING = "attempt > 0 AND retry_at IS NOT NULL AND hold_reason IS NULL AND status IN ('RECEIVED', 'IN_PROGRESS')"
"""Of an exception whose last attempt failed for now, and whose next is to come."""

_SUMMARY = f"""
exception_id, tenant_id, status, sequence, last_sequence, stage, position, source_system, external_id,
exception_type, reported_severity, severity, confidence, entity, assigned_to, domain_version, tenant_version,
trace_id, occurred_at, received_at, updated_at, deadline_at,
CASE WHEN {RETRYING} THEN retry_at END AS next_retry_at
"""

FENCE = """
  LEFT JOIN LATERAL (
    SELECT l.dead_letter_id AS blocked_by, l.dead_lettered_at AS blocked_since
      FROM dead_letters l
     WHERE e.status = 'DEAD_LETTERED' AND e.last_sequence > e.sequence
       AND l.exception_id = e.exception_id AND l.sequence = e.sequence
  ) fence ON true
"""
"""What keeps later inputs of an exception `e` from being worked: looked up for those alone that have any."""

LIST = f"""
-- Pages along exceptions_by_tenant or exceptions_by_status: ids are UUIDv7, so their order is that of receipt.
SELECT e.*, fence.*
  FROM (SELECT {_SUMMARY}
          FROM exceptions
         WHERE tenant_id = %(tenant)s {{conditions}}
         ORDER BY exception_id {{direction}}
         LIMIT %(limit)s) e
  {FENCE}
 ORDER BY e.exception_id {{direction}}
"""  # noqa: S608 - made of this module's constants

CONDITIONS = {
    "one_status": "AND status = %(one_status)s",
    "status": "AND status = ANY(%(status)s)",
    "severity": "AND severity = ANY(%(severity)s)",
    "exception_type": "AND exception_type = %(exception_type)s",
    "source_system": "AND source_system = %(source_system)s",
    "retrying": f"AND ({RETRYING})",
    "not_retrying": f"AND NOT ({RETRYING})",
    "first_id": "AND exception_id >= %(first_id)s::uuid AND received_at >= %(received_from)s",
    "last_id": "AND exception_id <= %(last_id)s::uuid AND received_at < %(received_to)s",
    "blocked": "AND status = 'DEAD_LETTERED' AND last_sequence > sequence",
    "not_blocked": "AND NOT (status = 'DEAD_LETTERED' AND last_sequence > sequence)",
    "after": "AND exception_id > %(after)s::uuid",
    "before": "AND exception_id < %(before)s::uuid",
    "pattern": (
        "AND (external_id ILIKE %(pattern)s OR exception_type ILIKE %(pattern)s OR source_system ILIKE %(pattern)s"
        " OR assigned_to ILIKE %(pattern)s OR exception_id::text LIKE %(pattern)s)"
    ),
}
"""Each filter of LIST by the parameter that switches it on. One status alone is an equality, for then
exceptions_by_status has the rows in order."""

GET = f"""
-- The payload as people may see it: the redacted view. Before intake has looked, nobody knows what is sensitive, so
-- nothing is shown.
SELECT e.*, fence.*
  FROM (SELECT {_SUMMARY}, hold_reason, retry_at, attempt,
               EXISTS (SELECT FROM outbox o WHERE o.exception_id = exceptions.exception_id
                          AND o.sequence = exceptions.sequence) AS waits_in_outbox,
               redacted_payload AS payload, redacted_payload IS NOT NULL AS payload_known
          FROM exceptions
         WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s) e
  {FENCE}
"""  # noqa: S608 - made of this module's constants

PLAN = """
SELECT plan_id, sequence, playbook, document, plan_hash, created_at
  FROM plans
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s
 ORDER BY sequence DESC
 LIMIT 1
"""

STEPS = """
SELECT step, state, output, error, completed_at, completed_by
  FROM plan_steps WHERE tenant_id = %(tenant)s AND plan_id = %(plan_id)s
"""

EFFECTS = """
SELECT idempotency_key, step, tool, state, attempt, requested_at, sent_at, finished_at, output, error
  FROM tool_executions
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s AND plan_id = %(plan_id)s
 ORDER BY requested_at, step
"""

DEAD_LETTER = """
SELECT dead_letter_id, sequence, stage, error_class, error_kind, message, tool, signature, attempts, state, redrives,
       dead_lettered_at
  FROM dead_letters
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s
 ORDER BY position DESC
 LIMIT 1
"""

HEAD = f"""
SELECT e.received_at, e.sequence, e.last_sequence, fence.*
  FROM exceptions e {FENCE}
 WHERE e.tenant_id = %(tenant)s AND e.exception_id = %(exception_id)s
"""  # noqa: S608 - made of this module's constants
"""What a timeline is read with."""

EVENTS = """
-- `since` keeps the months before the exception existed out of the search.
SELECT exception_id, tenant_id, position, occurred_at, sequence, stage, attempt, type, trace_id, domain_version,
       tenant_version, data
  FROM events
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s AND position > %(after)s AND occurred_at >= %(since)s
 ORDER BY position
 LIMIT %(limit)s
"""

NEWEST_RETRY = """
-- What was written of the attempt that failed last.
SELECT data FROM events
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s AND type = 'RetryScheduled'
   AND occurred_at >= %(since)s
 ORDER BY position DESC
 LIMIT 1
"""

LEDGER = """
-- One statement, hence one snapshot: what was accepted (counted in the event log) against where it is now
-- (counted in the rows).
SELECT tenant_id, COALESCE(accepted, 0) AS accepted, COALESCE(by_status, '{}') AS by_status
  FROM (SELECT tenant_id, count(*) AS accepted FROM events
         WHERE position = 1 AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s) GROUP BY tenant_id) a
  FULL JOIN
       (SELECT tenant_id, jsonb_object_agg(status, number) AS by_status
          FROM (SELECT tenant_id, status, count(*) AS number FROM exceptions
                 WHERE %(tenant)s::text IS NULL OR tenant_id = %(tenant)s GROUP BY tenant_id, status) s
         GROUP BY tenant_id) r USING (tenant_id)
 ORDER BY tenant_id
"""

AUDIT = """
-- What the counts of LEDGER cannot tell: which exceptions are there without the event of their acceptance, or the other
-- way round. Reads every exception, so it is asked for when something is wrong, and now and then.
SELECT COALESCE(e.tenant_id, v.tenant_id) AS tenant_id, COALESCE(e.exception_id, v.exception_id) AS exception_id,
       e.status, e.exception_id IS NOT NULL AS has_row
  FROM exceptions e
  FULL JOIN (SELECT exception_id, tenant_id FROM events WHERE position = 1) v ON v.exception_id = e.exception_id
 WHERE (e.exception_id IS NULL OR v.exception_id IS NULL)
   AND (%(tenant)s::text IS NULL OR COALESCE(e.tenant_id, v.tenant_id) = %(tenant)s)
 LIMIT %(limit)s
"""

REVISION = "SELECT version_num FROM alembic_version"

TENANT_RATE = """
-- The document is as its author wrote it, in either spelling of the key.
SELECT coalesce(document->>'rateLimitPerSecond', document->>'rate_limit_per_second')::float AS rate FROM packs
 WHERE tenant_id = %(tenant)s AND kind = 'tenant' AND version = %(version)s
"""
