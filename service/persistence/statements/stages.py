"""Statements of the stage engine: set-based, one round trip for a whole batch, the guard in the WHERE.

Every statement that moves exceptions takes its decisions as one JSON array and returns the rows that
really moved. A row that is elsewhere by now does not match, writes nothing and is not
returned. Stage 5 is `guard.FINISHED`.
"""

from __future__ import annotations

GUARD = """AND CASE WHEN e.sequence = d.sequence AND e.stage = %(stage)s
                      AND e.status NOT IN ('DEAD_LETTERED', 'DISCARDED') THEN true ELSE false END"""
"""The guard under the row's lock.

It is wrapped in CASE to be opaque to the planner. As plain comparisons it makes a table without statistics (a new
database) look as if one row matched, and the join is then planned as the product of batch and table; a list of
statuses also tempts it to walk every row in flight by the status index instead of probing the primary key.
"""

_LOAD = """
-- Locks the batch's rows in id order, so that workers holding overlapping batches (a redelivery after a
-- rebalance) queue up behind one another instead of deadlocking.
SELECT e.exception_id, e.tenant_id, e.status, e.resting_status, e.sequence, e.stage, e.source_system,
       e.exception_type, e.reported_severity, e.severity, e.confidence, e.entity, e.raw_payload,
       e.occurred_at, e.received_at, e.deadline_at, e.domain_version, e.tenant_version,
       i.type AS input_type, i.data AS input_data, i.actor AS input_actor, {plan}
  FROM exceptions e
  LEFT JOIN inputs i ON i.exception_id = e.exception_id AND i.sequence = e.sequence
  {plan_join}
 WHERE e.exception_id = ANY(%(ids)s::uuid[])
 ORDER BY e.exception_id
   FOR UPDATE OF e
"""

_PLAN_JOIN = """
  LEFT JOIN LATERAL (SELECT plan_id, document FROM plans WHERE plans.exception_id = e.exception_id
                      ORDER BY plans.sequence DESC LIMIT 1) p ON true
  LEFT JOIN LATERAL (SELECT array_agg(step_order) AS orders FROM plan_steps
                      WHERE plan_steps.plan_id = p.plan_id) s ON true
"""

LOAD_FOR_DECISION = _LOAD.format(plan="NULL AS plan, NULL AS plan_id, NULL AS orders", plan_join="")
LOAD_WITH_PLAN = _LOAD.format(plan="p.document AS plan, p.plan_id, s.orders", plan_join=_PLAN_JOIN)

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
           attempt = 0, retry_at = NULL,
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

_PLANS_AFTER = """, planned AS (
    INSERT INTO plans (plan_id, tenant_id, exception_id, sequence, playbook, document, domain_version, tenant_version,
                       created_at)
    SELECT d.plan_id, m.tenant_id, m.exception_id, m.sequence, d.plan ->> 'playbook', d.plan, m.domain_version,
           m.tenant_version, %(now)s
      FROM moved m JOIN decided d ON d.id = m.exception_id WHERE d.plan IS NOT NULL
), stepped AS (
    INSERT INTO plan_steps (plan_id, step_order, tenant_id, completed_at, completed_by)
    SELECT d.steps_plan_id, o, m.tenant_id, %(now)s, d.completed_by
      FROM moved m JOIN decided d ON d.id = m.exception_id, unnest(d.completed) o
    ON CONFLICT DO NOTHING
)"""

_APPROVALS_AFTER = """, superseded AS (
    UPDATE approvals a SET state = 'superseded'
      FROM moved m WHERE a.exception_id = m.exception_id AND a.state = 'pending' AND a.sequence < m.sequence
), asked AS (
    INSERT INTO approvals (exception_id, sequence, tenant_id, state, reason, requested_at)
    SELECT m.exception_id, m.sequence, m.tenant_id, 'pending', d.approval_reason, %(now)s
      FROM moved m JOIN decided d ON d.id = m.exception_id WHERE d.approval_reason IS NOT NULL
)"""

_SETTLED_BEFORE = """, settled AS (
    -- The fence of effects: only the delivery that holds the current attempt may write its answer.
    UPDATE tool_executions t
       SET state = d.settle_state, output = d.settle_output, error = d.settle_error, lease_until = NULL,
           finished_at = CASE WHEN d.settle_state = 'intent' THEN NULL ELSE %(now)s END
      FROM decided d
     WHERE t.idempotency_key = d.settle_key
       AND CASE WHEN t.state = 'sent' AND t.attempt = d.settle_attempt THEN true ELSE false END
    RETURNING t.idempotency_key
)"""

_EFFECTS_AFTER = """, stepped AS (
    INSERT INTO plan_steps (plan_id, step_order, tenant_id, completed_at, completed_by)
    SELECT d.steps_plan_id, o, m.tenant_id, %(now)s, NULL
      FROM moved m JOIN decided d ON d.id = m.exception_id, unnest(d.completed) o
    ON CONFLICT DO NOTHING
), sent AS (
    -- Committed before anything leaves: whoever finds 'sent' after a crash knows the call may have been made.
    INSERT INTO tool_executions (idempotency_key, tenant_id, exception_id, plan_id, step_order, tool, state, attempt,
                                 lease_until, requested_at)
    SELECT d.send_key, m.tenant_id, m.exception_id, d.steps_plan_id, d.send_step, d.send_tool, 'sent', d.send_attempt,
           d.send_lease_until, %(now)s
      FROM moved m JOIN decided d ON d.id = m.exception_id WHERE d.send_key IS NOT NULL
    ON CONFLICT (idempotency_key) DO UPDATE
       SET state = 'sent', attempt = excluded.attempt, lease_until = excluded.lease_until, error = NULL
)"""

APPLY_INTAKE = _APPLY.format(
    guard=GUARD,
    columns=", raw_payload jsonb, redacted_payload jsonb",
    assignments=""",
           raw_payload = COALESCE(d.raw_payload, e.raw_payload),
           redacted_payload = COALESCE(d.redacted_payload, e.redacted_payload)""",
    before="",
    condition="",
    after="",
)
APPLY_TRIAGE = _APPLY.format(guard=GUARD, columns="", assignments="", before="", condition="", after="")
APPLY_POLICY = _APPLY.format(
    guard=GUARD, columns=", approval_reason text", assignments="", before="", condition="", after=_APPROVALS_AFTER
)
APPLY_PLAYBOOK = _APPLY.format(
    guard=GUARD,
    columns=", plan jsonb, plan_id uuid, steps_plan_id uuid, completed int[], completed_by text",
    assignments="",
    before="",
    condition="",
    after=_PLANS_AFTER,
)
APPLY_TOOL = _APPLY.format(
    guard=GUARD,
    columns=""", steps_plan_id uuid, completed int[],
        settle_key uuid, settle_attempt smallint, settle_state text, settle_output jsonb, settle_error text,
        send_key uuid, send_step int, send_tool text, send_attempt smallint, send_lease_until timestamptz""",
    assignments="",
    before=_SETTLED_BEFORE,
    condition="""
       AND (d.settle_key IS NULL OR d.settle_key IN (SELECT idempotency_key FROM settled))""",
    after=_EFFECTS_AFTER,
)

LOAD_EFFECTS = """
-- No lock of its own: effects only change under their exception's row lock, which the caller holds.
SELECT idempotency_key, state, attempt, lease_until, output
  FROM tool_executions WHERE exception_id = ANY(%(ids)s::uuid[])
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

RECORD_RETRIES = """
-- The exceptions stay where they are; the time lets the reconciler leave them alone until then. Locks rows in
-- the order of the update, one batch's failures at a time; a deadlock is retried as an outage is.
WITH decided AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(decisions)s::json)
        AS d(id uuid, sequence int, attempt smallint, retry_at timestamptz, data json)
), moved AS (
    UPDATE exceptions e
       SET attempt = d.attempt, retry_at = d.retry_at, position = e.position + 1, updated_at = %(now)s
      FROM decided d
     WHERE e.exception_id = d.id
       {guard}
    RETURNING e.*, d.data
)
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                    domain_version, tenant_version, data)
SELECT exception_id, position, %(now)s, tenant_id, sequence, stage, attempt, 'RetryScheduled', trace_id,
       domain_version, tenant_version, data::jsonb
  FROM moved
""".replace("{guard}", GUARD)

DEAD_LETTER = """
-- The event stays unfinished: its row keeps sequence and stage, so every later event of the exception waits.
WITH decided AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(decisions)s::json)
        AS d(id uuid, sequence int, attempts smallint, error_class text, message text)
), moved AS (
    UPDATE exceptions e
       SET status = 'DEAD_LETTERED', attempt = d.attempts, retry_at = NULL, position = e.position + 1,
           updated_at = %(now)s
      FROM decided d
     WHERE e.exception_id = d.id
       {guard}
    RETURNING e.*, d.error_class, d.message, d.attempts
), kept AS (
    INSERT INTO dead_letters (exception_id, sequence, position, tenant_id, stage, error_class, message, attempts,
                              dead_lettered_at)
    SELECT exception_id, sequence, position, tenant_id, stage, error_class, message, attempts, %(now)s FROM moved
)
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                    domain_version, tenant_version, data)
SELECT exception_id, position, %(now)s, tenant_id, sequence, stage, attempts, 'DeadLettered', trace_id,
       domain_version, tenant_version,
       jsonb_build_object('errorClass', error_class, 'message', message, 'attempts', attempts)
  FROM moved
""".replace("{guard}", GUARD)
