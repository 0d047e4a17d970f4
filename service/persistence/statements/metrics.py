"""Statements behind /metrics: figures of the whole installation, as SYSTEM. None locks; each reads what is still to do,
or counts along an index, so that finished work, however much, costs little."""

from __future__ import annotations

OUTBOX = """
-- One pass over the outbox. How long the oldest ready row waits is told by its exception: the outbox has no clock.
WITH counted AS (
    SELECT count(*) FILTER (WHERE ready)::int AS ready, count(*) FILTER (WHERE due_at IS NOT NULL)::int AS held,
           count(*) FILTER (WHERE pause_id IS NOT NULL)::int AS paused,
           count(*) FILTER (WHERE NOT ready AND due_at IS NULL AND pause_id IS NULL)::int AS behind,
           min(number) FILTER (WHERE ready) AS oldest
      FROM outbox
)
SELECT c.ready, c.held, c.paused, c.behind,
       COALESCE((SELECT extract(epoch FROM now() - GREATEST(e.updated_at, e.retry_at))
                   FROM outbox o JOIN exceptions e ON e.exception_id = o.exception_id
                  WHERE o.number = c.oldest), 0)::float8 AS oldest_seconds
  FROM counted c
"""

LANES = """
SELECT count(*)::int AS lanes, count(*) FILTER (WHERE leased_until > now())::int AS served,
       (SELECT count(*)::int FROM dispatchers WHERE seen_until > now()) AS dispatchers
  FROM lanes
"""

DEAD_LETTERS = """
SELECT tenant_id, state, error_kind, count(*)::int AS number FROM dead_letters GROUP BY 1, 2, 3
"""

WORK = """
-- Reached tenant by tenant along exceptions_by_status: what is in flight, and what waits for a person.
SELECT (SELECT count(*)::int FROM tenants t CROSS JOIN LATERAL (
            SELECT FROM exceptions e
             WHERE e.tenant_id = t.tenant_id AND e.status = 'IN_PROGRESS' AND e.retry_at > now() AND e.attempt > 0
            OFFSET 0) e) AS retries,
       (SELECT count(*)::int FROM tenants t CROSS JOIN LATERAL (
            SELECT e.exception_id FROM exceptions e
             WHERE e.tenant_id = t.tenant_id AND e.status = 'PENDING_STEP'
               AND EXISTS (SELECT FROM tool_executions x
                            WHERE x.exception_id = e.exception_id AND x.state = 'unknown')
            OFFSET 0) e) AS effects_unknown,
       (SELECT count(*)::int FROM notifications WHERE due_at IS NOT NULL) AS notifications,
       (SELECT count(*)::int FROM suspects) AS suspects
"""

KINDS = "SELECT kind, actions, found, looked_at FROM reconciler_kinds ORDER BY kind"

CHORES = """
SELECT name, extract(epoch FROM now() - ran_at)::float8 AS age_seconds, seconds FROM chores WHERE ran_at IS NOT NULL
"""

AUDITS = """
-- What the last audit of each dead-letter topic found: a difference is counted whichever it is.
SELECT name, extract(epoch FROM now() - audited_at)::float8 AS age_seconds,
       COALESCE((report ->> 'agree')::boolean, false) AS agree
  FROM dead_letter_audits ORDER BY name
"""

RELAY = """
-- The oldest event that the cursor does not see, found by the index on xid; counting stops at `most`, for a relay that
-- never ran would have the whole log counted.
SELECT (SELECT count(*)::int FROM (SELECT FROM events WHERE xid >= %(next_xid)s::xid8 OR xid = ANY(%(running)s::xid8[])
                                    LIMIT %(most)s) u) AS unpublished,
       (SELECT extract(epoch FROM now() - occurred_at)::float8 FROM events
         WHERE xid >= %(next_xid)s::xid8 ORDER BY xid LIMIT 1) AS seconds_behind
"""

RELAY_CURSORS = """
SELECT name, pg_snapshot_xmax(snapshot::pg_snapshot)::text AS next_xid,
       (SELECT array_agg(x::text) FROM pg_snapshot_xip(snapshot::pg_snapshot) x) AS running
  FROM relay_cursors ORDER BY name
"""
