"""Statements of pauses: thrown and ended by people, looked up once a second by every process that works."""

from __future__ import annotations

_COLUMNS = """pause_id, scope, tenant_id, tool, stage, reason, until, by_platform, paused_at, paused_by, resumed_at,
       resumed_by, resume_reason"""

_IN_FORCE = "resumed_at IS NULL AND (until IS NULL OR until > now())"

SHOW_IN_FORCE = "SELECT set_config('app.pauses', 'in force', true)"
"""Lets the transaction of a worker see what is paused of every tenant, and nothing of what was."""

IN_FORCE = f"""
-- pauses_in_force holds what was not resumed, which is little. The time is PostgreSQL's.
SELECT {_COLUMNS} FROM pauses WHERE {_IN_FORCE} ORDER BY pause_id
"""  # noqa: S608 - made of this module's constants

PAUSE = f"""
INSERT INTO pauses (pause_id, scope, tenant_id, tool, stage, reason, until, by_platform, paused_at, paused_by)
VALUES (%(pause_id)s, %(scope)s, %(tenant_id)s, %(tool)s, %(stage)s, %(reason)s, %(until)s, %(by_platform)s, now(),
        %(paused_by)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - made of this module's constants

RESUME = f"""
-- Of two who resume at once the second finds nothing: the row's lock and the condition decide.
UPDATE pauses SET resumed_at = now(), resumed_by = %(by)s, resume_reason = %(reason)s
 WHERE pause_id = %(pause_id)s AND resumed_at IS NULL
RETURNING {_COLUMNS}
"""  # noqa: S608 - made of this module's constants

GET = f"""
SELECT {_COLUMNS} FROM pauses WHERE pause_id = %(pause_id)s
"""  # noqa: S608 - made of this module's constants

LIST = f"""
-- Ids are UUIDv7: the newest first. `tenant` null: everything that the transaction sees.
SELECT {_COLUMNS} FROM pauses
 WHERE (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s OR tenant_id IS NULL)
   AND (%(history)s OR ({_IN_FORCE}))
   AND (%(before)s::uuid IS NULL OR pause_id < %(before)s::uuid)
 ORDER BY pause_id DESC LIMIT %(limit)s
"""  # noqa: S608 - made of this module's constants

WAKE = """
-- Makes ready what was held by a pause that is over. Pauses with held work are found by hopping along outbox_paused, so
-- that what is still paused is not looked at row by row. Every dispatcher looks; SKIP LOCKED, so that two that look
-- together take different rows.
WITH RECURSIVE held (pause_id) AS (
    (SELECT pause_id FROM outbox WHERE pause_id IS NOT NULL ORDER BY pause_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.pause_id FROM outbox o WHERE o.pause_id > h.pause_id ORDER BY o.pause_id LIMIT 1)
      FROM held h WHERE h.pause_id IS NOT NULL
), due AS MATERIALIZED (
    SELECT o.exception_id, o.sequence
      FROM held h
      JOIN outbox o ON o.pause_id = h.pause_id
     WHERE NOT EXISTS (SELECT FROM pauses p
                        WHERE p.pause_id = h.pause_id AND p.resumed_at IS NULL
                          AND (p.until IS NULL OR p.until > now()))
     LIMIT %(limit)s FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox o SET ready = true, due_at = NULL, pause_id = NULL
  FROM due d WHERE o.exception_id = d.exception_id AND o.sequence = d.sequence
"""

IN_FLIGHT = """
-- What is still under way, by what it waits for; one snapshot. Reached tenant by tenant along exceptions_by_status.
SELECT count(*) FILTER (WHERE NOT waits AND NOT calls AND NOT retries)::int AS working,
       count(*) FILTER (WHERE NOT waits AND calls)::int AS calling,
       count(*) FILTER (WHERE NOT waits AND NOT calls AND retries)::int AS retrying,
       count(*) FILTER (WHERE waits)::int AS waiting,
       min(retry_at) FILTER (WHERE NOT waits AND NOT calls AND retries) AS next_retry_at,
       min(updated_at) FILTER (WHERE NOT waits AND NOT retries) AS oldest_moved_at,
       jsonb_object_agg(stage, number) FILTER (WHERE NOT waits) AS stages
  FROM (SELECT e.*, count(*) OVER (PARTITION BY stage, waits) AS number
          FROM tenants t CROSS JOIN LATERAL (
               SELECT e.stage, e.updated_at, e.retry_at, COALESCE(e.retry_at > now(), false) AS retries,
                      EXISTS (SELECT FROM outbox o
                               WHERE o.exception_id = e.exception_id AND o.sequence = e.sequence) AS waits,
                      e.stage = 4 AND EXISTS (SELECT FROM tool_executions x
                                               WHERE x.exception_id = e.exception_id
                                                 AND x.lease_until > now()) AS calls
                 FROM exceptions e
                WHERE e.tenant_id = t.tenant_id AND e.status IN ('RECEIVED', 'IN_PROGRESS') AND e.stage < 5
               OFFSET 0) e) e
"""
