"""Statements of the relay on the event log and its cursor. None locks a row; all run on the leader's one session.

The cursor is a snapshot (`pg_snapshot`). An event is published when the cursor's snapshot sees its transaction.
The next window is what a newer snapshot sees and the cursor does not, so every commit falls into exactly one
window, however late it comes and whatever its transaction id is. And because a transaction that waited for
another one's row can only be seen together with it, no window ever holds an event without the events of the
same exception before it, unless they were published already. A transaction id as cursor would not do: ids
are given out in another order than commits, and neither `max(xid)` nor the oldest running id parts them.
"""

from __future__ import annotations

TRY_LOCK = """
-- Held by the session, so it ends with it: whoever holds it is the only one that publishes under this cursor.
SELECT pg_try_advisory_lock(%(space)s, hashtext(%(name)s))
"""

PREPARE_SESSION = """
SET cursor_tuple_fraction = 1;
-- A lost cursor update means that events are published twice, which they may be.
SET synchronous_commit = off;
-- A leader whose machine is gone must not stay leader for the hours that TCP waits by default.
SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
"""

CURSOR = """
SELECT snapshot, updated_at FROM relay_cursors WHERE name = %(name)s
"""

CURRENT_SNAPSHOT = """
SELECT pg_current_snapshot()::text
"""

BEGIN_WINDOW = """
-- REPEATABLE READ: the snapshot that is told here is the one the window is read with.
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_current_snapshot()::text
"""

_UNSEEN = "(xid >= %(next_xid)s::xid8 OR xid = ANY(%(running)s::xid8[]))"
"""What a snapshot does not see, in the form that the index on xid serves: `next_xid` is its xmax."""

LOGGED = """exception_id::text, position, (extract(epoch FROM occurred_at) * 1000000)::bigint,
       to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
       tenant_id, sequence::text, stage, attempt::text, type, translate(trace_id::text, '-', ''),
       'domain=' || domain_version || ',tenant=' || tenant_version, data::text"""
"""The columns of service.relay.cloudevents.LoggedEvent, rendered here because here it is cheap."""

OPEN_WINDOW = f"""
-- Ordered by position and nothing else: the order within an exception is what is promised.
DECLARE relay_window NO SCROLL CURSOR FOR
SELECT {LOGGED}
  FROM events WHERE {_UNSEEN}
 ORDER BY position
"""  # noqa: S608 - the only thing put in is the constants above

FETCH_WINDOW = """
FETCH FORWARD {rows} FROM relay_window
"""

END_WINDOW = """
COMMIT
"""

ADVANCE = """
INSERT INTO relay_cursors AS c (name, snapshot, updated_at) VALUES (%(name)s, %(snapshot)s, now())
    ON CONFLICT (name) DO UPDATE SET snapshot = excluded.snapshot, updated_at = excluded.updated_at
"""

LAG = f"""
-- Counts over the index on xid; reads only what is not published.
SELECT count(*), extract(epoch FROM now() - min(occurred_at))::float8
  FROM events WHERE {_UNSEEN}
"""  # noqa: S608 - the only thing put in is the constant above

LEADER = """
SELECT count(*) > 0
  FROM pg_locks l JOIN pg_database d ON d.oid = l.database
 WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.granted
   AND l.classid = %(space)s::int::oid AND l.objid = (hashtext(%(name)s)::bigint & 4294967295)::oid
"""
