"""Statements of the reconciler: each finds one sort of work that does not move, and makes it ready again.

They run as the SYSTEM role and see every tenant. None waits for a lock: what somebody has locked is being moved.
In-flight rows are reached tenant by tenant along exceptions_by_status, so that finished rows, however many, are not
looked at; an index on the time of the last move would cost every stage its HOT update.
"""

from __future__ import annotations

from service.persistence.statements.isolation import gone

_PAUSED = """paused AS MATERIALIZED (
    SELECT scope, tenant_id, stage FROM pauses
     WHERE resumed_at IS NULL AND (until IS NULL OR until > now()) AND scope IN ('tenant', 'stage')
)"""

_NOT_PAUSED = """NOT EXISTS (SELECT FROM paused p
                        WHERE (p.scope = 'tenant' AND p.tenant_id = e.tenant_id)
                           OR (p.scope = 'stage' AND p.stage = e.stage
                               AND (p.tenant_id IS NULL OR p.tenant_id = e.tenant_id)))"""
"""What is paused waits on purpose."""

_COUNTED = """counted AS (
    INSERT INTO reconciler_kinds AS k (kind, actions, acted_at)
    SELECT kind, count(*), %(now)s FROM moved GROUP BY kind
    ON CONFLICT (kind) DO UPDATE SET actions = k.actions + excluded.actions, acted_at = excluded.acted_at
)"""

_LOGGED = """logged AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT exception_id, position, %(now)s, tenant_id, sequence, stage, attempt + 1, 'Reconciled', trace_id,
           domain_version, tenant_version, jsonb_build_object('cause', kind, 'waitedSeconds', waited)
      FROM moved
)"""

_SUSPECTED_ANEW = """ON CONFLICT (exception_id) DO UPDATE
   SET sequence = excluded.sequence, stage = excluded.stage, moved_at = excluded.moved_at, since = excluded.since,
       repeats = 0, repeated_at = NULL"""


def _in_flight(status: str) -> str:
    """The rows of a status that have not moved lately and that nothing accounts for. OFFSET 0 keeps the planner from
    turning the probe of each tenant into a walk over all rows."""
    return f"""
    SELECT e.* FROM tenants t CROSS JOIN LATERAL (
        SELECT e.exception_id, e.tenant_id, e.sequence, e.stage, e.updated_at
          FROM exceptions e
         WHERE e.tenant_id = t.tenant_id AND e.status = '{status}' AND e.stage < 5
           AND GREATEST(e.updated_at, e.retry_at) < %(now)s::timestamptz - make_interval(secs => %(after)s / 3)
           AND NOT EXISTS (SELECT FROM outbox o
                            WHERE o.exception_id = e.exception_id AND o.sequence = e.sequence
                              AND (o.ready OR o.due_at IS NOT NULL OR o.pause_id IS NOT NULL))
           AND NOT EXISTS (SELECT FROM tool_executions x
                            WHERE x.exception_id = e.exception_id AND x.lease_until > %(now)s)
        OFFSET 0) e
     WHERE {_NOT_PAUSED}"""  # noqa: S608 - made of this module's constants


SUSPECT = f"""
-- Notes what is due to move, has not moved lately and is neither in the outbox nor leased; forgets what moved since.
-- Only suspected: nothing tells when a dispatcher took something, and after a long backlog what it took a moment ago
-- looks as if it had been under way for as long. What stays suspected is made ready again.
WITH {_PAUSED}, slow AS MATERIALIZED (
    SELECT e.*, row_number() OVER (PARTITION BY stage ORDER BY exception_id) AS place
      FROM ({_in_flight("RECEIVED")}
    UNION ALL
    {_in_flight("IN_PROGRESS")}) e
), forgotten AS (
    DELETE FROM suspects s
     WHERE NOT EXISTS (SELECT FROM slow e WHERE e.exception_id = s.exception_id)
       AND (s.repeated_at IS NULL OR s.repeated_at < %(now)s::timestamptz - make_interval(secs => %(longest)s)
            OR NOT EXISTS (SELECT FROM exceptions e
                            WHERE e.exception_id = s.exception_id AND e.sequence = s.sequence AND e.stage = s.stage
                              AND e.updated_at = s.moved_at))
)
INSERT INTO suspects AS s (exception_id, sequence, stage, moved_at, since)
SELECT exception_id, sequence, stage, updated_at, %(now)s FROM slow WHERE place <= %(most)s
{_SUSPECTED_ANEW}
 WHERE (s.sequence, s.stage, s.moved_at) <> (excluded.sequence, excluded.stage, excluded.moved_at)
"""  # noqa: S608 - made of this module's constants

ORPHANS = f"""
-- Calls that a process waited for beside its deliveries, and the process is dead: no message comes again for them, and
-- nobody can write their answers any more. Their leases are over, and their exceptions are made ready at once. A row
-- that somebody has locked is being moved.
WITH dead AS (
    DELETE FROM landings l WHERE {gone("l.written_at", "l.session")} RETURNING l.exceptions, l.written_at
), left_behind AS MATERIALIZED (
    SELECT e.exception_id, e.sequence, e.stage, e.updated_at, d.written_at
      FROM (SELECT unnest(exceptions) AS exception_id, max(written_at) AS written_at FROM dead GROUP BY 1) d
      JOIN exceptions e ON e.exception_id = d.exception_id
     WHERE e.status IN ('RECEIVED', 'IN_PROGRESS')
     ORDER BY e.exception_id
       FOR UPDATE OF e SKIP LOCKED
), let_go AS (
    UPDATE tool_executions x SET lease_until = x.sent_at
      FROM left_behind l
     WHERE x.exception_id = l.exception_id AND x.state = 'sent' AND x.lease_until > %(now)s
       AND x.sent_at <= l.written_at
    RETURNING x.exception_id
)
INSERT INTO suspects AS s (exception_id, sequence, stage, moved_at, since)
SELECT exception_id, sequence, stage, updated_at, %(now)s::timestamptz - make_interval(secs => %(after)s + 1)
  FROM left_behind WHERE exception_id IN (SELECT exception_id FROM let_go)
{_SUSPECTED_ANEW}
"""  # noqa: S608 - made of this module's constants

MAKE_READY = f"""
-- What has been suspected long enough goes back into the outbox: its message, its retry or its hold was lost, or a
-- worker died while its call was out (what then follows is the effect ledger's rule, at the tool stage).
--
-- A slow system must not be flooded with repeats. At most `window` exceptions of a stage are out that were made ready
-- again and have not moved since: while its workers do not get to them nothing is added, and when they do the rest
-- follows. One that does not move is repeated after growing waits.
--
-- It comes after SUSPECT in its transaction, which has just forgotten what is leased, paused or to be retried; whatever
-- gives an exception such a reason to wait moves its updated_at, so that the suspicion is not about it any more.
WITH out AS (
    SELECT stage, count(*) AS number FROM suspects WHERE repeats > 0 GROUP BY stage
), due AS (
    SELECT s.*, row_number() OVER (PARTITION BY s.stage, s.repeats > 0 ORDER BY s.since, s.exception_id) AS place
      FROM suspects s
     WHERE COALESCE(s.repeated_at, s.since) < %(now)s::timestamptz - make_interval(secs =>
               LEAST(%(longest)s, %(after)s * 2 ^ LEAST(s.repeats, 10)))
), chosen AS MATERIALIZED (
    SELECT d.* FROM due d LEFT JOIN out o ON o.stage = d.stage
     WHERE d.repeats > 0 OR d.place <= %(window)s - COALESCE(o.number, 0)
), locked AS MATERIALIZED (
    SELECT e.exception_id, e.tenant_id, e.stage,
           CASE WHEN o.exception_id IS NOT NULL THEN 'hold_lost'
                WHEN EXISTS (SELECT FROM tool_executions x
                              WHERE x.exception_id = e.exception_id AND x.state = 'sent') THEN 'effect_in_doubt'
                WHEN e.attempt > 0 AND e.retry_at IS NOT NULL THEN 'retry_lost'
                ELSE 'message_lost' END AS kind,
           extract(epoch FROM %(now)s::timestamptz - GREATEST(e.updated_at, e.retry_at))::int AS waited
      FROM chosen c
      JOIN exceptions e ON e.exception_id = c.exception_id AND e.sequence = c.sequence AND e.stage = c.stage
       AND e.updated_at = c.moved_at
      LEFT JOIN outbox o ON o.exception_id = e.exception_id AND o.sequence = e.sequence
     WHERE e.status IN ('RECEIVED', 'IN_PROGRESS')
       AND (o.exception_id IS NULL OR (NOT o.ready AND o.due_at IS NULL AND o.pause_id IS NULL))
     ORDER BY e.exception_id
       FOR UPDATE OF e SKIP LOCKED
), moved AS (
    UPDATE exceptions e SET position = e.position + 1
      FROM locked l WHERE e.exception_id = l.exception_id
    RETURNING e.*, l.kind, l.waited
), noted AS (
    UPDATE suspects s SET repeats = LEAST(s.repeats + 1, 1000), repeated_at = %(now)s
      FROM moved m WHERE s.exception_id = m.exception_id
), {_LOGGED}, {_COUNTED}, queued AS (
    INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, attempt, rate_limited, ready)
    SELECT exception_id, sequence, tenant_id, lane, stage, attempt, rate_limited, true FROM moved
    ON CONFLICT (exception_id, sequence) DO UPDATE SET ready = true, due_at = NULL, pause_id = NULL
)
SELECT kind FROM moved
"""  # noqa: S608 - made of this module's constants

OPEN_GATES = f"""
-- An input waits although its predecessor is finished: the gate was not opened, or the input's outbox row is gone.
-- exceptions_with_later_inputs holds the few exceptions that have an input waiting at all. A dead letter is a gate
-- that is closed on purpose.
WITH {_PAUSED}, locked AS MATERIALIZED (
    SELECT e.exception_id, COALESCE(o.stage, (%(entry_stages)s::jsonb ->> i.type)::smallint) AS entry,
           extract(epoch FROM %(now)s::timestamptz - e.updated_at)::int AS waited
      FROM exceptions e
      JOIN inputs i ON i.exception_id = e.exception_id AND i.sequence = e.sequence + 1
      LEFT JOIN outbox o ON o.exception_id = e.exception_id AND o.sequence = e.sequence + 1
     WHERE e.last_sequence > e.sequence AND e.stage = 5 AND e.status NOT IN ('DEAD_LETTERED', 'DISCARDED')
       AND e.updated_at < %(now)s::timestamptz - make_interval(secs => %(after)s)
       AND {_NOT_PAUSED}
     ORDER BY e.exception_id
     LIMIT %(window)s
       FOR UPDATE OF e SKIP LOCKED
), moved AS (
    UPDATE exceptions e
       SET sequence = e.sequence + 1, stage = l.entry, status = 'IN_PROGRESS', position = e.position + 1,
           updated_at = %(now)s
      FROM locked l WHERE e.exception_id = l.exception_id AND l.entry IS NOT NULL
    RETURNING e.*, 'gate_closed' AS kind, l.waited
), {_LOGGED}, {_COUNTED}, queued AS (
    INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready)
    SELECT exception_id, sequence, tenant_id, lane, stage, true FROM moved
    ON CONFLICT (exception_id, sequence) DO UPDATE SET ready = true, due_at = NULL, pause_id = NULL
)
SELECT kind FROM moved
"""  # noqa: S608 - made of this module's constants

RELANE = f"""
-- Work in a lane that no dispatcher knows (the API was told of more lanes than the dispatchers) goes to one that is
-- served. Only what has waited long enough: until then a dispatcher with the new number may be starting. Lanes with
-- work are found by hopping along outbox_ready; row locks only on what is moved.
WITH RECURSIVE lane (lane) AS (
    (SELECT lane FROM outbox WHERE ready ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT o.lane FROM outbox o WHERE o.ready AND o.lane > l.lane ORDER BY o.lane LIMIT 1)
      FROM lane l WHERE l.lane IS NOT NULL
), locked AS MATERIALIZED (
    SELECT e.exception_id, o.sequence AS waiting,
           extract(epoch FROM %(now)s::timestamptz - GREATEST(e.updated_at, e.retry_at))::int AS waited
      FROM lane l
      JOIN outbox o ON o.lane = l.lane AND o.ready
      JOIN exceptions e ON e.exception_id = o.exception_id
     WHERE l.lane NOT IN (SELECT lane FROM lanes) AND EXISTS (SELECT FROM lanes)
       AND GREATEST(e.updated_at, e.retry_at) < %(now)s::timestamptz - make_interval(secs => %(after)s)
     ORDER BY e.exception_id
     LIMIT %(window)s
       FOR UPDATE OF e SKIP LOCKED
), moved AS (
    UPDATE exceptions e SET position = e.position + 1
      FROM locked l WHERE e.exception_id = l.exception_id
    RETURNING e.*, 'lane_unknown' AS kind, l.waited, l.waiting
), {_LOGGED}, {_COUNTED}
UPDATE outbox o SET lane = (SELECT min(lane) FROM lanes)
  FROM moved m WHERE o.exception_id = m.exception_id AND o.sequence = m.waiting
RETURNING m.kind
"""  # noqa: S608 - made of this module's constants

REMIND = """
-- Notifications that are still to be sent and have no time any more. notifications_forgotten holds no others.
WITH forgotten AS MATERIALIZED (
    SELECT exception_id, position, policy FROM notifications
     WHERE state IN ('intent', 'sent') AND due_at IS NULL
       AND GREATEST(created_at, sent_at) < %(now)s::timestamptz - make_interval(secs => %(after)s)
     LIMIT %(window)s FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE notifications n SET due_at = %(now)s
      FROM forgotten f
     WHERE n.exception_id = f.exception_id AND n.position = f.position AND n.policy = f.policy
    RETURNING 'notification_lost' AS kind
), counted AS (
    INSERT INTO reconciler_kinds AS k (kind, actions, acted_at)
    SELECT kind, count(*), %(now)s FROM moved GROUP BY kind
    ON CONFLICT (kind) DO UPDATE SET actions = k.actions + excluded.actions, acted_at = excluded.acted_at
)
SELECT kind FROM moved
"""

FIND_FAULTS = """
-- What a person has to see, for nothing here can be put right by making it ready: each kind with how much of it there
-- is. Every count is over an index of what is still to do, never over what is finished.
SELECT 'impossible_state' AS kind, count(*)::int AS found,
       (array_agg(exception_id::text ORDER BY exception_id))[1:5] AS examples
  FROM (SELECT e.exception_id FROM tenants t CROSS JOIN LATERAL (
            SELECT e.exception_id FROM exceptions e
             WHERE e.tenant_id = t.tenant_id AND e.status IN ('RECEIVED', 'IN_PROGRESS')
               AND (e.stage > 4 OR e.sequence > e.last_sequence)
            OFFSET 0) e
        UNION ALL
        SELECT e.exception_id FROM tenants t CROSS JOIN LATERAL (
            SELECT e.exception_id FROM exceptions e
             WHERE e.tenant_id = t.tenant_id AND e.status IN ('PENDING_APPROVAL', 'PENDING_STEP', 'WAITING')
               AND e.stage <> 5
            OFFSET 0) e) impossible
 UNION ALL
SELECT 'timer_overdue', count(*)::int, (array_agg(exception_id::text ORDER BY due_at))[1:5]
  FROM (SELECT t.exception_id, t.due_at FROM timers t
         WHERE t.due_at < %(now)s::timestamptz - make_interval(secs => %(after)s)
           AND t.tenant_id NOT IN (SELECT p.tenant_id FROM pauses p
                                    WHERE p.scope = 'tenant' AND p.resumed_at IS NULL
                                      AND (p.until IS NULL OR p.until > now()))
         LIMIT 1000) overdue
 UNION ALL
SELECT 'hold_overdue', count(*)::int, (array_agg(exception_id::text ORDER BY due_at))[1:5]
  FROM (SELECT exception_id, due_at FROM outbox
         WHERE due_at < %(now)s::timestamptz - make_interval(secs => %(after)s) LIMIT 1000) overdue
 UNION ALL
SELECT 'lane_unserved', count(*)::int, (array_agg(lane::text ORDER BY lane))[1:5]
  FROM lanes WHERE leased_until IS NULL OR leased_until < now() - make_interval(secs => %(after)s)
 UNION ALL
SELECT 'relay_stalled', count(*)::int, (array_agg(name ORDER BY name))[1:5]
  FROM relay_cursors c
 WHERE c.updated_at < now() - make_interval(secs => %(after)s)
   AND EXISTS (SELECT FROM events v
                WHERE v.xid >= pg_snapshot_xmax(c.snapshot::pg_snapshot)
                  AND v.occurred_at < %(now)s::timestamptz - make_interval(secs => %(after)s))
"""

NOTE_FAULTS = """
INSERT INTO reconciler_kinds AS k (kind, found, looked_at)
SELECT f.kind, f.found, %(now)s FROM json_to_recordset(%(faults)s::json) AS f(kind text, found int)
ON CONFLICT (kind) DO UPDATE SET found = excluded.found, looked_at = excluded.looked_at
RETURNING kind, (SELECT b.found FROM reconciler_kinds b WHERE b.kind = k.kind) AS found_before
"""

TAKE_TURN = """
-- One process at a time: the row says until when the chore is somebody's, and when it is due again.
INSERT INTO chores AS c (name, holder, due_at) VALUES (%(name)s, %(holder)s, now() + make_interval(secs => %(lease)s))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, due_at = excluded.due_at WHERE c.due_at <= now()
RETURNING name
"""

END_TURN = """
UPDATE chores SET ran_at = now(), seconds = %(seconds)s, due_at = now() + make_interval(secs => %(again)s)
 WHERE name = %(name)s AND holder = %(holder)s
"""
