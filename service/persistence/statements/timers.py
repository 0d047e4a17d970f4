"""Statements of timers. Stages set them (`service.persistence.statements.applying`), the dispatcher fires them.

FIRE runs as the SYSTEM role and sees every tenant's timers.
"""

from __future__ import annotations

FIRE = """
-- Turns timers that are due into inputs of their exceptions. The exception's row is locked first, as the stages and
-- the API lock it, and the timer after it: the other way round two of them could wait for each other. An exception
-- that somebody has locked is left for the next look (SKIP LOCKED): a stage at work on it may be about to end the
-- step, and it must not hold up the others' timers. Of two dispatchers that see the same timer the DELETE lets one
-- have it; everything is one statement, so a crash leaves either the timer or its input.
--
-- Timers of a tenant that is paused keep their time and fire after.
--
-- A timer is dropped without an input when there is nothing left that it could wake: its exception rests in a
-- status that waits for nothing, its plan was replaced, its step is done, its approval was decided. An exception that
-- is at rest takes the first input at once; others, and all inputs of an exception that is being worked, queue up.
WITH due AS MATERIALIZED (
    SELECT exception_id, kind, step FROM timers
     WHERE due_at <= %(now)s AND tenant_id <> ALL(%(paused)s::text[])
     ORDER BY due_at LIMIT %(limit)s
), locked AS MATERIALIZED (
    SELECT exception_id, stage = 5 AS at_rest, status FROM exceptions
     WHERE exception_id IN (SELECT exception_id FROM due)
     ORDER BY exception_id FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM timers t USING due d, locked l
     WHERE t.exception_id = d.exception_id AND t.kind = d.kind AND t.step = d.step AND t.due_at <= %(now)s
       AND l.exception_id = t.exception_id
    RETURNING t.exception_id, t.tenant_id, t.kind, t.step, t.plan_id, t.due_at, l.at_rest, l.status
), expired AS (
    UPDATE approvals a SET state = 'expired', decided_at = %(now)s
      FROM gone g
     WHERE g.kind = 'approval' AND a.exception_id = g.exception_id AND a.state = 'pending' AND a.due_at <= %(now)s
    RETURNING a.exception_id, a.plan_hash
), awake AS (
    SELECT g.*, 'step_due' AS type, 3 AS stage,
           jsonb_build_object('step', g.step, 'kind', g.kind, 'planId', g.plan_id, 'dueAt', g.due_at) AS data
      FROM gone g
     WHERE g.kind <> 'approval'
       AND g.plan_id = (SELECT p.plan_id FROM plans p
                         WHERE p.exception_id = g.exception_id ORDER BY p.sequence DESC LIMIT 1)
       AND NOT EXISTS (SELECT FROM plan_steps s
                        WHERE s.plan_id = g.plan_id AND s.step = g.step AND s.state IN ('done', 'failed', 'skipped'))
     UNION ALL
    SELECT g.*, 'approval_expired', 2, jsonb_build_object('planHash', x.plan_hash, 'dueAt', g.due_at)
      FROM gone g JOIN expired x ON x.exception_id = g.exception_id
     WHERE g.kind = 'approval'
), wanted AS MATERIALIZED (
    SELECT a.*, row_number() OVER (PARTITION BY exception_id ORDER BY due_at, kind, step) AS place,
           count(*) OVER (PARTITION BY exception_id) AS number
      FROM awake a
     WHERE CASE WHEN a.at_rest THEN a.status IN ('WAITING', 'PENDING_STEP', 'PENDING_APPROVAL')
                ELSE a.status <> 'DISCARDED' END
), moved AS (
    UPDATE exceptions e
       SET last_sequence = e.last_sequence + w.number, position = e.position + w.number,
           sequence = CASE WHEN w.at_rest THEN e.last_sequence + 1 ELSE e.sequence END,
           stage = CASE WHEN w.at_rest THEN w.stage ELSE e.stage END,
           status = CASE WHEN w.at_rest THEN 'IN_PROGRESS' ELSE e.status END,
           updated_at = CASE WHEN w.at_rest THEN %(now)s ELSE e.updated_at END
      FROM wanted w
     WHERE e.exception_id = w.exception_id AND w.place = 1
    RETURNING e.exception_id, e.lane, e.trace_id, e.domain_version, e.tenant_version,
              e.last_sequence - w.number AS sequence_before, e.position - w.number AS position_before
), input AS (
    INSERT INTO inputs (exception_id, sequence, tenant_id, type, data, actor, received_at)
    SELECT w.exception_id, m.sequence_before + w.place, w.tenant_id, w.type, w.data, 'timer', %(now)s
      FROM wanted w JOIN moved m USING (exception_id)
), happened AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT w.exception_id, m.position_before + w.place, %(now)s, w.tenant_id, m.sequence_before + w.place, w.stage,
           'ExceptionUpdated', m.trace_id, m.domain_version, m.tenant_version,
           w.data || jsonb_build_object('type', w.type, 'by', 'timer')
      FROM wanted w JOIN moved m USING (exception_id)
), queued AS (
    INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready)
    SELECT w.exception_id, m.sequence_before + w.place, w.tenant_id, m.lane, w.stage, w.at_rest AND w.place = 1
      FROM wanted w JOIN moved m USING (exception_id)
)
SELECT (SELECT count(*) FROM due)::int AS due, (SELECT count(*) FROM gone)::int AS gone,
       (SELECT count(*) FROM wanted)::int AS fired
"""

WAITING_UNTIL = """
SELECT kind, step, due_at FROM timers
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s ORDER BY due_at
"""
