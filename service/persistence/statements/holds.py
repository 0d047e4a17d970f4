"""Statements for held work: it waits in the outbox, not ready, until it is due."""

from __future__ import annotations

from service.persistence.statements.applying import GUARD

HOLD = """
-- The exceptions stay where they are. One that is held again and again waits half as long as it has waited
-- already, so a thousand of them do not come back at once every second; its timeline says so once, at the first time.
-- One that a pause stops has no time: it waits until the pause is over, and its timeline says so once for each pause.
-- The rows are locked in id order, as every statement that locks several does; those of the tool stage are locked
-- already by the load of the same transaction, or by the decision before this one.
WITH decided AS MATERIALIZED (
    SELECT d.*, CASE WHEN d.pause_id IS NULL THEN e.held_since IS NULL
                     ELSE e.hold_reason IS DISTINCT FROM d.reason END AS told
      FROM json_to_recordset(%(holds)s::json)
           AS d(id uuid, sequence int, attempt smallint, rate_limited smallint, tool text, reason text,
                seconds float8, jitter float8, pause_id uuid, until timestamptz)
      JOIN exceptions e ON e.exception_id = d.id
     ORDER BY e.exception_id FOR UPDATE OF e
), moved AS (
    UPDATE exceptions e
       SET hold_reason = d.reason,
           held_since = CASE WHEN d.pause_id IS NULL THEN COALESCE(e.held_since, %(now)s) ELSE e.held_since END,
           retry_at = CASE WHEN d.pause_id IS NULL THEN
               %(now)s::timestamptz + make_interval(secs => GREATEST(d.seconds, d.jitter * LEAST(
                   %(longest)s, extract(epoch FROM %(now)s::timestamptz - COALESCE(e.held_since, %(now)s)) / 2))) END,
           position = e.position + d.told::int,
           updated_at = %(now)s
      FROM decided d
     WHERE e.exception_id = d.id
       {guard}
    RETURNING e.*, d.attempt AS attempts, d.rate_limited AS limits, d.tool, d.pause_id, d.until, d.told
), logged AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT exception_id, position, %(now)s, tenant_id, sequence, stage, attempts + 1,
           CASE WHEN pause_id IS NULL THEN 'ToolExecutionHeld' ELSE 'ExceptionHeld' END, trace_id,
           domain_version, tenant_version,
           jsonb_strip_nulls(jsonb_build_object('tool', tool, 'reason', hold_reason, 'pauseId', pause_id,
                                                'heldUntil', to_jsonb(COALESCE(retry_at, until))))
      FROM moved WHERE told
)
INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, attempt, rate_limited, ready, due_at, pause_id)
SELECT exception_id, sequence, tenant_id, lane, stage, attempts, limits, false, retry_at, pause_id FROM moved
ON CONFLICT (exception_id, sequence)
DO UPDATE SET ready = false, due_at = excluded.due_at, pause_id = excluded.pause_id
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
