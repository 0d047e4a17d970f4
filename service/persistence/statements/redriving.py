"""Statements that send dead-lettered inputs again or end them: set-based, the guard in the WHERE.

The exceptions' rows are locked first, in id order, as everywhere; dead letters only change under that lock, but for
the change from `redriving` to `succeeded`, which nothing else competes with.
"""

from __future__ import annotations

LOCK = """
-- The exceptions of some dead letters, in id order: stages, the API and other redrives queue up behind.
SELECT exception_id FROM exceptions
 WHERE exception_id IN (SELECT exception_id FROM dead_letters
                         WHERE tenant_id = %(tenant)s AND dead_letter_id = ANY(%(ids)s::uuid[]))
 ORDER BY exception_id FOR UPDATE
"""

_FACTS = """
SELECT d.dead_letter_id, d.exception_id, d.sequence, d.stage, d.state, d.redrives, d.signature, d.pattern, d.message,
       e.status, e.resting_status, e.sequence AS current, COALESCE(i.type, 'ingested') AS input_type,
       EXISTS (SELECT FROM plans p WHERE p.exception_id = d.exception_id AND p.sequence = d.sequence) AS planned,
       EXISTS (SELECT FROM approvals a WHERE a.exception_id = d.exception_id AND a.state = 'pending') AS asked,
       (SELECT count(*)::int FROM tool_executions t
         WHERE t.exception_id = d.exception_id AND t.state = 'unknown') AS unknown_effects
"""

FACTS = f"""
-- Under LOCK, where somebody acts on what it says.
{_FACTS}
  FROM dead_letters d
  JOIN exceptions e ON e.exception_id = d.exception_id
  LEFT JOIN inputs i ON i.exception_id = d.exception_id AND i.sequence = d.sequence
 WHERE d.tenant_id = %(tenant)s AND d.dead_letter_id = ANY(%(ids)s::uuid[])
 ORDER BY d.exception_id, d.sequence
"""

FACTS_OF = f"""
-- For a dry run: of what the conditions of dead_letters.CONDITIONS choose, without any lock.
{_FACTS}
  FROM (SELECT * FROM dead_letters l
         WHERE l.tenant_id = %(tenant)s {{conditions}}
         ORDER BY l.dead_lettered_at, l.dead_letter_id LIMIT %(limit)s) d
  JOIN exceptions e ON e.exception_id = d.exception_id
  LEFT JOIN inputs i ON i.exception_id = d.exception_id AND i.sequence = d.sequence
 ORDER BY d.dead_lettered_at, d.dead_letter_id
"""  # noqa: S608 - made of this module's constants

_STILL_DEAD = "d.state = 'pending' AND e.status = 'DEAD_LETTERED' AND e.sequence = d.sequence"
"""The guard: of two that send the same dead letter again, the second finds it moved."""

REDRIVE = f"""
-- Under LOCK. Attempts begin anew, at the stage that was chosen; the outbox row makes it leave.
WITH wanted AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json)
        AS w(dead_letter_id uuid, exception_id uuid, stage smallint, stage_name text, packs text)
), taken AS (
    UPDATE dead_letters d SET state = 'redriving', redrives = d.redrives + 1, settled_at = NULL
      FROM wanted w JOIN exceptions e ON e.exception_id = w.exception_id
     WHERE d.dead_letter_id = w.dead_letter_id AND d.exception_id = e.exception_id AND {_STILL_DEAD}
    RETURNING d.dead_letter_id, d.exception_id, d.redrives, w.stage, w.stage_name, w.packs
), moved AS (
    UPDATE exceptions e
       SET status = 'IN_PROGRESS', stage = t.stage, attempt = 0, rate_limited = 0, retry_at = NULL,
           hold_reason = NULL, held_since = NULL, redriven_with = t.packs, position = e.position + 1,
           updated_at = %(now)s
      FROM taken t WHERE e.exception_id = t.exception_id
    RETURNING e.exception_id, e.tenant_id, e.sequence, e.stage, e.lane, e.position, e.trace_id, e.domain_version,
              e.tenant_version, t.dead_letter_id, t.redrives, t.stage_name, t.packs
), logged AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT exception_id, position, %(now)s, tenant_id, sequence, stage, 'Redriven', trace_id, domain_version,
           tenant_version,
           jsonb_strip_nulls(jsonb_build_object(
               'deadLetterId', dead_letter_id, 'by', %(by)s::text, 'reason', %(reason)s::text,
               'fromStage', stage_name, 'packs', packs, 'redrive', redrives, 'operationId', %(operation)s::text))
      FROM moved
), queued AS (
    INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready)
    SELECT exception_id, sequence, tenant_id, lane, stage, true FROM moved
    ON CONFLICT (exception_id, sequence) DO UPDATE
       SET ready = true, stage = excluded.stage, attempt = 0, rate_limited = 0, due_at = NULL, pause_id = NULL
)
SELECT dead_letter_id, exception_id, sequence, redrives FROM moved
"""  # noqa: S608 - made of this module's constants

DISCARD = f"""
-- Under LOCK. The input is over; `rests` is where its exception rests, until the next input takes its turn.
WITH wanted AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(items)s::json) AS w(dead_letter_id uuid, exception_id uuid, rests text)
), taken AS (
    UPDATE dead_letters d SET state = 'discarded', settled_at = %(now)s
      FROM wanted w JOIN exceptions e ON e.exception_id = w.exception_id
     WHERE d.dead_letter_id = w.dead_letter_id AND d.exception_id = e.exception_id AND {_STILL_DEAD}
    RETURNING d.dead_letter_id, d.exception_id, d.redrives, w.rests
), moved AS (
    UPDATE exceptions e
       SET status = t.rests, resting_status = t.rests, stage = 5, attempt = 0, rate_limited = 0, retry_at = NULL,
           hold_reason = NULL, held_since = NULL, redriven_with = NULL, position = e.position + 1, updated_at = %(now)s
      FROM taken t, exceptions before
     WHERE e.exception_id = t.exception_id AND before.exception_id = t.exception_id
    RETURNING e.exception_id, e.tenant_id, e.sequence, e.last_sequence, before.stage AS failed_at, e.position,
              e.trace_id, e.domain_version, e.tenant_version, e.status, t.dead_letter_id, t.redrives
), logged AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT exception_id, position, %(now)s, tenant_id, sequence, failed_at, 'Discarded', trace_id, domain_version,
           tenant_version,
           jsonb_strip_nulls(jsonb_build_object(
               'deadLetterId', dead_letter_id, 'by', %(by)s::text, 'reason', %(reason)s::text, 'rests', status,
               'operationId', %(operation)s::text))
      FROM moved
), unqueued AS (
    DELETE FROM outbox o USING moved m WHERE o.exception_id = m.exception_id AND o.sequence = m.sequence
), untimed AS (
    DELETE FROM timers t USING moved m WHERE t.exception_id = m.exception_id AND m.status = 'DISCARDED'
), unasked AS (
    UPDATE approvals a SET state = 'superseded', decided_at = %(now)s
      FROM moved m WHERE a.exception_id = m.exception_id AND a.state = 'pending' AND m.status = 'DISCARDED'
), untold AS (
    -- What is on its way is not called back.
    UPDATE notifications n
       SET state = 'failed', error = 'the exception was discarded', due_at = NULL, claim = n.claim + 1,
           finished_at = %(now)s
      FROM moved m WHERE n.exception_id = m.exception_id AND n.state = 'intent' AND m.status = 'DISCARDED'
)
SELECT dead_letter_id, exception_id, sequence, last_sequence, status, redrives FROM moved
"""  # noqa: S608 - made of this module's constants

SETTLE = """
-- Dead letters whose inputs are finished. Nobody else changes them: an input that failed again is not finished. SKIP
-- LOCKED, so that dispatchers which look together do not wait for each other.
WITH finished AS MATERIALIZED (
    SELECT d.dead_letter_id
      FROM dead_letters d JOIN exceptions e ON e.exception_id = d.exception_id
     WHERE d.tenant_id = %(tenant)s AND d.state = 'redriving'
       AND (e.sequence > d.sequence OR (e.sequence = d.sequence AND e.stage = 5))
     LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED
)
UPDATE dead_letters d SET state = 'succeeded', settled_at = %(now)s
  FROM finished f WHERE d.dead_letter_id = f.dead_letter_id
"""

TENANTS_REDRIVING = """
-- As SYSTEM. Hops along the index from tenant to tenant.
WITH RECURSIVE t (tenant_id) AS (
    (SELECT tenant_id FROM dead_letters WHERE state = 'redriving' ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.tenant_id FROM dead_letters d
             WHERE d.state = 'redriving' AND d.tenant_id > t.tenant_id ORDER BY d.tenant_id LIMIT 1)
      FROM t WHERE t.tenant_id IS NOT NULL
)
SELECT tenant_id FROM t WHERE tenant_id IS NOT NULL
"""
