"""Statements that apply what a stage decided: set-based, one round trip for a whole batch, the guard in the WHERE.

Every statement that moves exceptions takes its decisions as one JSON array and returns the rows that
really moved. A row that is elsewhere by now does not match, writes nothing and is not
returned. Stage 5 is `guard.FINISHED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from service.domain.exceptions import Stage
from service.persistence.statements.approvals import APPROVALS_AFTER, APPROVALS_COLUMN
from service.persistence.statements.notifications import told

GUARD = """AND CASE WHEN e.sequence = d.sequence AND e.stage = %(stage)s
                      AND e.status NOT IN ('DEAD_LETTERED', 'DISCARDED') THEN true ELSE false END"""
"""The guard under the row's lock.

It is wrapped in CASE to be opaque to the planner. As plain comparisons it makes a table without statistics (a new
database) look as if one row matched, and the join is then planned as the product of batch and table; a list of
statuses also tempts it to walk every row in flight by the status index instead of probing the primary key.
"""

_APPLY = """
-- The rows are already locked by the load of the same transaction, except when a zombie got here: then the
-- WHERE decides, under the lock the UPDATE takes.
WITH decided AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(decisions)s::json) AS d(
        id uuid, sequence int, attempt smallint, finished text, event_count int, events json,
        exception_type text, severity text, confidence real, deadline_at timestamptz, assigned_to text,
        domain_version int, tenant_version int{columns})
){before}, moved AS (
    UPDATE exceptions e
       SET stage = CASE WHEN d.finished IS NULL THEN %(next_stage)s ELSE 5 END,
           status = COALESCE(d.finished, 'IN_PROGRESS'),
           resting_status = COALESCE(d.finished, e.resting_status),
           position = e.position + d.event_count,
           attempt = 0, rate_limited = 0, retry_at = NULL, hold_reason = NULL,
           held_since = CASE WHEN d.finished IS NULL THEN e.held_since END,
           redriven_with = CASE WHEN d.finished IS NULL THEN e.redriven_with END,
           exception_type = COALESCE(d.exception_type, e.exception_type),
           severity = COALESCE(d.severity, e.severity),
           confidence = COALESCE(d.confidence, e.confidence),
           deadline_at = COALESCE(d.deadline_at, e.deadline_at),
           assigned_to = COALESCE(d.assigned_to, e.assigned_to),
           domain_version = COALESCE(d.domain_version, e.domain_version),
           tenant_version = COALESCE(d.tenant_version, e.tenant_version){assignments},
           updated_at = %(now)s
      FROM decided d
     WHERE e.exception_id = d.id
       {guard}{condition}
    RETURNING e.exception_id, e.tenant_id, e.sequence, e.last_sequence, e.stage AS stage_now,
              e.position - d.event_count AS base, e.trace_id, e.domain_version, e.tenant_version, d.attempt, d.events
), logged AS (
    INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                        domain_version, tenant_version, data)
    SELECT m.exception_id, m.base + v.ordinality, %(now)s, m.tenant_id, m.sequence, %(stage)s, m.attempt + 1,
           v.value ->> 0, m.trace_id, m.domain_version, m.tenant_version, (v.value -> 1)::jsonb
      FROM moved m, json_array_elements(m.events) WITH ORDINALITY v
){after}
SELECT exception_id, tenant_id, sequence, last_sequence, stage_now FROM moved
"""


@dataclass(frozen=True, slots=True)
class Part:
    """What some decisions bring besides a move: rows of their own, each with the `id` of its exception.

    A statement is made of the parts that its batch has, so that nobody pays for what others need. Parts are joined
    with the rows that really moved, so a zombie's are not written.
    """

    before: str = ""
    """Common table expressions ahead of the move."""
    condition: str = ""
    """What else has to hold for an exception to move."""
    after: str = ""
    """Common table expressions after the move."""


PARTS: Mapping[str, Part] = {
    "plans": Part(
        after=""", planned AS (
    INSERT INTO plans (plan_id, tenant_id, exception_id, sequence, playbook, document, domain_version, tenant_version,
                       created_at, plan_hash)
    SELECT p.plan_id, m.tenant_id, m.exception_id, m.sequence, p.document ->> 'playbook', p.document, m.domain_version,
           m.tenant_version, %(now)s, p.plan_hash
      FROM json_to_recordset(%(plans)s::json) AS p(id uuid, plan_id uuid, document jsonb, plan_hash text)
      JOIN moved m ON m.exception_id = p.id
    -- Made anew for an input that was sent again: the keys of its effects stay, what nothing has come of is replaced.
    ON CONFLICT (plan_id) DO UPDATE
       SET playbook = excluded.playbook, document = excluded.document, domain_version = excluded.domain_version,
           tenant_version = excluded.tenant_version, created_at = excluded.created_at, plan_hash = excluded.plan_hash
)"""
    ),
    "steps": Part(
        after=""", stepped AS (
    INSERT INTO plan_steps (plan_id, step, tenant_id, state, output, error, completed_at, completed_by, number)
    SELECT s.plan_id, s.path, m.tenant_id, s.state, s.output, s.error,
           CASE WHEN s.state NOT IN ('started', 'unknown') THEN %(now)s::timestamptz END, s.by, COALESCE(s.number, 0)
      FROM json_to_recordset(%(steps)s::json) AS s(id uuid, plan_id uuid, path text, state text, output jsonb,
                                                   error text, by text, number int)
      JOIN moved m ON m.exception_id = s.id
    ON CONFLICT (plan_id, step) DO UPDATE
       SET state = excluded.state, output = excluded.output, error = excluded.error, number = excluded.number,
           completed_at = excluded.completed_at, completed_by = excluded.completed_by
)"""
    ),
    "settles": Part(
        before=""", answered AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(settles)s::json)
        AS a(id uuid, key uuid, attempt smallint, state text, output jsonb, error text)
), settled AS (
    -- The fence of effects: only the delivery that holds the current attempt may write its answer.
    UPDATE tool_executions t
       SET state = a.state, output = a.output, error = a.error, lease_until = NULL,
           finished_at = CASE WHEN a.state = 'intent' THEN NULL ELSE %(now)s END
      FROM answered a
     WHERE t.idempotency_key = a.key
       AND CASE WHEN t.state = 'sent' AND t.attempt = a.attempt THEN true ELSE false END
    RETURNING t.idempotency_key, t.exception_id, t.tenant_id
)""",
        condition="""
       AND d.id NOT IN (SELECT id FROM answered WHERE key NOT IN (SELECT idempotency_key FROM settled))""",
    ),
    "results": Part(
        after=""", kept AS (
    -- With the answer that refers to it: that one is written even where its exception has moved on.
    INSERT INTO tool_results (result_id, tenant_id, exception_id, bytes, document, created_at)
    SELECT r.result_id, s.tenant_id, s.exception_id, r.bytes, r.document, %(now)s
      FROM json_to_recordset(%(results)s::json) AS r(id uuid, result_id uuid, bytes int, document jsonb)
      JOIN settled s ON s.idempotency_key = r.result_id
    ON CONFLICT (result_id) DO NOTHING
)"""
    ),
    "answers": Part(
        after=""", remembered AS (
    INSERT INTO tool_results (result_id, tenant_id, exception_id, bytes, document, created_at)
    SELECT r.result_id, m.tenant_id, m.exception_id, r.bytes, r.document, %(now)s
      FROM json_to_recordset(%(answers)s::json) AS r(id uuid, result_id uuid, bytes int, document jsonb)
      JOIN moved m ON m.exception_id = r.id
    ON CONFLICT (result_id) DO NOTHING
)"""
    ),
    "sends": Part(
        after=""", sent AS (
    -- Committed before anything leaves: whoever finds 'sent' after a crash knows the call may have been made.
    INSERT INTO tool_executions (idempotency_key, tenant_id, exception_id, plan_id, step, tool, state, attempt,
                                 lease_until, requested_at, sent_at)
    SELECT s.key, m.tenant_id, m.exception_id, s.plan_id, s.step, s.tool, 'sent', s.attempt, s.lease_until,
           %(now)s, %(now)s
      FROM json_to_recordset(%(sends)s::json) AS s(id uuid, key uuid, plan_id uuid, step text, tool text,
                                                   attempt smallint, lease_until timestamptz)
      JOIN moved m ON m.exception_id = s.id
    ON CONFLICT (idempotency_key) DO UPDATE
       SET state = 'sent', tool = excluded.tool, attempt = excluded.attempt, lease_until = excluded.lease_until,
           error = NULL,
           sent_at = excluded.sent_at
)"""
    ),
    "effects": Part(
        after=""", ruled AS (
    -- What is known now of an effect whose answer never came, or that is not tried any more.
    UPDATE tool_executions t
       SET state = f.state, output = f.output, error = f.error, finished_at = %(now)s
      FROM json_to_recordset(%(effects)s::json) AS f(id uuid, key uuid, state text, output jsonb, error text)
      JOIN moved m ON m.exception_id = f.id
     WHERE t.idempotency_key = f.key AND t.state IN ('unknown', 'intent')
)"""
    ),
    "timers": Part(
        after=""", timed AS (
    INSERT INTO timers (exception_id, kind, step, tenant_id, plan_id, due_at)
    SELECT m.exception_id, t.kind, t.step, m.tenant_id, t.plan_id, t.due_at
      FROM json_to_recordset(%(timers)s::json) AS t(id uuid, kind text, step text, plan_id uuid, due_at timestamptz)
      JOIN moved m ON m.exception_id = t.id
    ON CONFLICT (exception_id, kind, step) DO UPDATE SET plan_id = excluded.plan_id, due_at = excluded.due_at
)"""
    ),
    "notices": Part(after=told("m.base + n.place")),
}
"""By the key of a decision that holds the rows."""

_COLUMNS = {Stage.INTAKE: ", sealed_payload bytea, redacted_payload jsonb"}
_ASSIGNMENTS = {
    Stage.INTAKE: """,
           sealed_payload = COALESCE(d.sealed_payload, e.sealed_payload),
           redacted_payload = COALESCE(d.redacted_payload, e.redacted_payload)""",
}


@cache
def apply(stage: Stage, parts: tuple[str, ...], approvals: bool) -> str:
    """The statement that applies decisions of a stage with these parts; `approvals`: some may ask, or end asking."""
    chosen = [PARTS[name] for name in parts]
    return _APPLY.format(
        guard=GUARD,
        columns=_COLUMNS.get(stage, "") + (f", {APPROVALS_COLUMN}" if approvals else ""),
        assignments=_ASSIGNMENTS.get(stage, ""),
        before="".join(part.before for part in chosen),
        condition="".join(part.condition for part in chosen),
        after="".join(part.after for part in chosen) + (APPROVALS_AFTER if approvals else ""),
    )


FORGET_STEPS = """
-- Of plans that are made anew, in the transaction that replaces them, under the locks of their exceptions.
WITH timed AS (DELETE FROM timers WHERE plan_id = ANY(%(plans)s::uuid[]))
DELETE FROM plan_steps WHERE plan_id = ANY(%(plans)s::uuid[])
"""

OPEN_GATE = """
-- After an event is finished its successor, if one waits, becomes the one being worked. The rows are locked
-- by the transaction that finished the predecessor.
WITH ready AS (
    UPDATE outbox o SET ready = true
      FROM json_to_recordset(%(finished)s::json) AS f(id uuid, sequence int)
     WHERE o.exception_id = f.id AND o.sequence = f.sequence + 1 AND NOT o.ready
    RETURNING o.exception_id, o.sequence, o.stage
)
UPDATE exceptions e
   SET sequence = r.sequence, stage = r.stage, status = 'IN_PROGRESS', updated_at = %(now)s
  FROM ready r WHERE e.exception_id = r.exception_id
"""
