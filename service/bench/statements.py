"""What the bench asks the database: the backlog while it runs, the rest when nothing is under way. Nothing locks."""

from __future__ import annotations

BACKLOG = """
-- Over exceptions_by_status: costs as much as there is backlog, not as there are exceptions.
SELECT count(*) FROM exceptions WHERE tenant_id = ANY(%(tenants)s) AND status IN ('RECEIVED', 'IN_PROGRESS')
"""

HELD = """
SELECT count(*) FROM exceptions
 WHERE tenant_id = ANY(%(tenants)s) AND status IN ('RECEIVED', 'IN_PROGRESS') AND hold_reason IS NOT NULL
"""

STATUS = """
SELECT status FROM exceptions WHERE exception_id = %(exception_id)s
"""

WINDOW = """
-- The event log is the judge: what happened in a window is what was logged in it, second by second.
SELECT floor(extract(epoch FROM occurred_at - %(from)s))::int AS second,
       count(*) FILTER (WHERE position = 1) AS accepted,
       count(*) FILTER (WHERE type = 'ExceptionResolved') AS resolved,
       count(*) AS events
  FROM events
 WHERE tenant_id = ANY(%(tenants)s) AND occurred_at >= %(from)s AND occurred_at < %(to)s
 GROUP BY 1
"""

TIME_IN_PIPELINE = """
SELECT count(*), percentile_disc(ARRAY[0.5, 0.95, 0.99]::float8[]) WITHIN GROUP (ORDER BY took), max(took), avg(took)
  FROM (SELECT extract(epoch FROM updated_at - received_at)::float8 * 1000 AS took
          FROM exceptions
         WHERE tenant_id = ANY(%(tenants)s) AND status = 'RESOLVED'
           AND received_at >= %(from)s AND received_at < %(to)s) r
"""

TIME_TO_REST = """
-- Of what was received in a span and came to rest after something happened, whatever it rests in.
SELECT count(*), percentile_disc(ARRAY[0.5, 0.95, 0.99]::float8[]) WITHIN GROUP (ORDER BY took), max(took), avg(took)
  FROM (SELECT extract(epoch FROM updated_at - received_at)::float8 * 1000 AS took
          FROM exceptions
         WHERE tenant_id = ANY(%(tenants)s) AND received_at >= %(from)s AND received_at < %(to)s
           AND updated_at >= %(after)s AND status NOT IN ('RECEIVED', 'IN_PROGRESS')) r
"""

STALL = """
-- The longest time between two exceptions that were resolved, or between one and the window's ends.
SELECT COALESCE(max(extract(epoch FROM moment - before)), 0)::float8
  FROM (SELECT moment, lag(moment, 1, %(from)s::timestamptz) OVER (ORDER BY moment) AS before
          FROM (SELECT occurred_at AS moment FROM events
                 WHERE tenant_id = ANY(%(tenants)s) AND type = 'ExceptionResolved'
                   AND occurred_at >= %(from)s AND occurred_at < %(to)s
                 UNION ALL SELECT %(to)s::timestamptz) moments) r
"""

FIRST_RESOLVED = """
SELECT min(occurred_at) FROM events
 WHERE tenant_id = ANY(%(tenants)s) AND type = 'ExceptionResolved' AND occurred_at >= %(from)s
"""

ANALYSE = "ANALYZE exceptions, events, outbox, plans, plan_steps, tool_executions"

SETTINGS = """
SELECT name, setting || COALESCE(unit, '') FROM pg_settings
 WHERE name IN ('server_version', 'fsync', 'synchronous_commit', 'shared_buffers')
"""
