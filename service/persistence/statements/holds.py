"""Statements for held work: it waits in the outbox, not ready, until it is due."""

from __future__ import annotations

from service.persistence.statements.stages import GUARD

HOLD = """
-- The exceptions stay where they are. One that is held again and again waits half as long as it has waited
-- already, so a thousand of them do not come back at once every second; its timeline says so once, at the first time.
-- The rows are locked by the load of the same transaction, or by the decision before this one.
WITH decided AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(holds)s::json)
        AS d(id uuid, sequence int, attempt smallint, rate_limited smallint, tool text, reason text,
             seconds float8, jitter float8)
), moved AS (
    UPDATE exceptions e
       SET hold_reason = d.reason,
           held_since = COALESCE(e.held_since, %(now)s),
           retry_at = %(now)s::timestamptz + make_interval(secs => GREATEST(d.seconds, d.jitter * LEAST(
               %(longest)s, extract(epoch FROM %(now)s::timestamptz - COALESCE(e.held_since, %(now)s)) / 2))),
           position = e.position + CASE WHEN e.held_since IS NULL THEN 1 ELSE 0 END,
           updated_at = %(now)s
      FROM decided d
     WHERE e.exception_id = d.id
       {guard}
    RETURNING e.*, d.attempt AS attempts, d.rate_limited AS limits, d.tool
), logged AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT exception_id, position, %(now)s, tenant_id, sequence, stage, attempts + 1, 'ToolExecutionHeld', trace_id,
           domain_version, tenant_version,
           jsonb_build_object('tool', tool, 'reason', hold_reason, 'heldUntil', to_jsonb(retry_at))
      FROM moved WHERE held_since = %(now)s
)
INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, attempt, rate_limited, ready, due_at)
SELECT exception_id, sequence, tenant_id, lane, stage, attempts, limits, false, retry_at FROM moved
ON CONFLICT (exception_id, sequence) DO UPDATE SET ready = false, due_at = excluded.due_at
RETURNING exception_id
""".replace("{guard}", GUARD)

WAKE = """
-- Makes held rows ready whose time has come, the longest due first. Every dispatcher looks; SKIP LOCKED, so that two
-- that look together take different ones. The time is PostgreSQL's, so the clocks of the hosts do not matter much.
WITH due AS MATERIALIZED (
    SELECT exception_id, sequence FROM outbox WHERE due_at <= now()
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE outbox o SET ready = true, due_at = NULL
  FROM due d WHERE o.exception_id = d.exception_id AND o.sequence = d.sequence
"""
