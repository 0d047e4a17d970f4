"""The invariants as SQL over the database: each statement names what breaks one; no row is the proof.

`%(tenants)s` are the round's tenants, `%(expected)s` what was answered (`Answers.expected`), `%(calls)s` the tool
server's log, `%(records)s` the records of the dead-letter topic, `%(read_at)s` when these were read. An exception that
was redriven begins a new life: `life` counts, so that what was worked in an earlier one may be worked again.
"""

from __future__ import annotations

from service.persistence.models import TENANT_TABLES

_ACCEPTANCES = (
    "'ExceptionUpdated', 'ApprovalGranted', 'ApprovalRejected', 'StepCompletionRequested', 'DuplicateIgnored', "
    "'PayloadRead', 'ExceptionIngested', 'Redriven', 'Discarded', 'Reconciled', "
    "'SLAImminent', 'SLAExpired', 'FeedbackCaptured'"
)
"""Events that tell of something that came in, whatever is being worked at that moment."""

_LIVES = """
WITH told AS (
    SELECT exception_id, position, sequence, stage, type, data, tenant_id,
           count(*) FILTER (WHERE type = 'Redriven') OVER (PARTITION BY exception_id ORDER BY position) AS life
      FROM events WHERE tenant_id = ANY(%(tenants)s)
)
"""

_WORK = f"""{_LIVES}, work AS (
    SELECT *, lag(sequence) OVER w AS sequence_before, lag(stage) OVER w AS stage_before,
           lag(life) OVER w AS life_before, lag(type) OVER w AS type_before, lag(data) OVER w AS data_before
      FROM told WHERE type NOT IN ({_ACCEPTANCES})
    WINDOW w AS (PARTITION BY exception_id ORDER BY position)
)
"""

_EXPECTED = """
WITH expected AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(expected)s::json)
        AS x(id uuid, tenant text, kind text, resting text[], dead boolean, sequence int)
)
"""

LOST = f"""{_EXPECTED}
SELECT x.id, x.kind, e.status, x.resting, e.sequence, x.sequence AS answered, e.last_sequence
  FROM expected x LEFT JOIN exceptions e ON e.exception_id = x.id
 WHERE e.exception_id IS NULL
    OR NOT (e.status = ANY(x.resting))
    OR e.last_sequence < x.sequence
    OR (e.status <> 'DEAD_LETTERED' AND (e.sequence < e.last_sequence OR e.stage < 5))
    OR (e.status = 'PENDING_STEP' AND x.kind <> 'manual'
        AND NOT EXISTS (SELECT FROM tool_executions t WHERE t.exception_id = e.exception_id AND t.state = 'unknown'))
"""
"""Answered and not there, or at rest where its kind does not rest, or with an input that nobody finished."""

LOST_INPUTS = """
SELECT x.id, x.sequence FROM json_to_recordset(%(inputs)s::json) AS x(id uuid, sequence int)
  LEFT JOIN inputs i ON i.exception_id = x.id AND i.sequence = x.sequence
 WHERE i.exception_id IS NULL
"""

APPLIED_TWICE = f"""{_LIVES}
SELECT exception_id, sequence, stage, life, type, data ->> 'stepOrder' AS step, count(*) AS times FROM told
 WHERE type IN ('ExceptionIngested', 'ExceptionNormalized', 'TriageCompleted', 'PolicyEvaluationCompleted',
                'PlaybookMatched', 'StepExecutionRequested', 'StepCompleted', 'ToolExecutionCompleted', 'CommentAdded',
                'ExceptionResolved', 'ExceptionEscalated', 'ExceptionCancelled', 'ApprovalRequested', 'DeadLettered')
 GROUP BY exception_id, sequence, stage, life, type, data ->> 'stepOrder', data ->> 'step' HAVING count(*) > 1
"""

ACCEPTED_TWICE = """
SELECT redacted_payload ->> 'ref' AS ref, array_agg(exception_id::text) AS exceptions FROM exceptions
 WHERE tenant_id = ANY(%(tenants)s) AND redacted_payload ? 'ref'
 GROUP BY tenant_id, redacted_payload ->> 'ref' HAVING count(*) > 1
"""
"""One request of a source, repeated under its key, became several exceptions."""

GAPS = """
SELECT e.exception_id, e.position, e.last_sequence, count(v.*) AS events, max(v.position) AS newest,
       count(DISTINCT v.sequence) AS sequences
  FROM exceptions e LEFT JOIN events v ON v.exception_id = e.exception_id
 WHERE e.tenant_id = ANY(%(tenants)s)
 GROUP BY e.exception_id, e.position, e.last_sequence
HAVING count(v.*) <> e.position OR count(DISTINCT v.position) <> e.position OR max(v.position) <> e.position
    OR count(DISTINCT v.sequence) <> e.last_sequence OR max(v.sequence) <> e.last_sequence
"""

BACKWARDS = f"""{_WORK}
SELECT exception_id, position, sequence, stage, type, sequence_before, stage_before, type_before FROM work
 WHERE sequence < sequence_before
    OR (sequence = sequence_before AND life = life_before AND stage < stage_before)
"""

_ENDED = """
    type_before IN ('ExceptionResolved', 'ExceptionEscalated', 'ExceptionCancelled', 'ApprovalRequested')
    OR (type_before = 'CommentAdded' AND stage_before = 0)
    OR (type_before = 'StepExecutionRequested' AND data_before ->> 'kind' IN ('manual', 'wait'))
    OR (type_before = 'ToolExecutionFailed' AND data_before ->> 'effect' = 'unknown')
"""
"""What the work of an input may end with: an end, or that somebody is asked."""

BEFORE_ITS_TURN = f"""{_WORK}, turns AS (
    SELECT * FROM work WHERE sequence > sequence_before
), skipped AS (
    SELECT s.exception_id, s.sequence FROM exceptions e
      JOIN LATERAL generate_series(1, e.sequence - 1) AS n(sequence) ON true
      JOIN LATERAL (SELECT e.exception_id, n.sequence) s ON true
     WHERE e.tenant_id = ANY(%(tenants)s)
       AND NOT EXISTS (SELECT FROM work w WHERE w.exception_id = e.exception_id AND w.sequence = n.sequence)
       AND NOT EXISTS (SELECT FROM told d
                        WHERE d.exception_id = e.exception_id AND d.sequence = n.sequence AND d.type = 'Discarded')
)
SELECT exception_id, sequence, 'its predecessor ended with ' || type_before AS because FROM turns t
 WHERE NOT ({_ENDED})
   AND NOT EXISTS (SELECT FROM told d WHERE d.exception_id = t.exception_id AND d.sequence = t.sequence_before
                                        AND d.type = 'Discarded')
 UNION ALL
SELECT exception_id, sequence, 'it was passed over' FROM skipped
"""
"""A later input was worked before an earlier one was finished, also behind a dead letter."""

_CALLS = """
WITH calls AS MATERIALIZED (
    SELECT key, tool, tenant, outcome FROM json_to_recordset(%(calls)s::json)
        AS c(key uuid, tool text, tenant text, outcome text)
), effects AS MATERIALIZED (
    SELECT t.idempotency_key AS key, t.exception_id, t.tenant_id, t.tool, t.state, t.finished_at,
           (SELECT bool_and(COALESCE((p.document -> 'tools' -> t.tool ->> 'idempotent')::boolean, false))
              FROM packs p WHERE p.tenant_id = t.tenant_id AND p.kind = 'domain') AS idempotent
      FROM tool_executions t WHERE t.tenant_id = ANY(%(tenants)s)
), worked AS MATERIALIZED (
    SELECT key, count(*) FILTER (WHERE outcome = 'worked') AS times FROM calls GROUP BY key
)
"""

EFFECT_TWICE = f"""{_CALLS}
SELECT w.key, f.exception_id, f.tool, f.state, w.times FROM worked w LEFT JOIN effects f USING (key)
 WHERE w.times > 1 AND NOT COALESCE(f.idempotent, false)
"""

EFFECT_UNKNOWN_TO_US = f"""{_CALLS}
SELECT w.key, w.times FROM worked w LEFT JOIN effects f USING (key) WHERE f.key IS NULL AND w.times > 0
"""
"""The tool did something that the effect ledger does not know."""

EFFECT_ONLY_CLAIMED = f"""{_CALLS}
SELECT f.key, f.exception_id, f.tool, f.state FROM effects f LEFT JOIN worked w USING (key)
 WHERE f.state = 'confirmed' AND COALESCE(w.times, 0) = 0
   AND COALESCE(extract(epoch FROM f.finished_at), 0) < %(read_at)s - 1
"""
"""The effect ledger says that it happened, and the tool never did it."""

DEAD_LETTERS_OFF = f"""{_EXPECTED}
SELECT COALESCE(x.id, d.exception_id) AS exception_id, x.kind, d.error_class, d.message,
       CASE WHEN d.exception_id IS NULL THEN 'is no dead letter' ELSE 'is a dead letter, and was good' END AS because
  FROM (SELECT * FROM expected WHERE dead) x
  FULL JOIN (SELECT DISTINCT ON (exception_id) exception_id, error_class, message FROM dead_letters
              WHERE tenant_id = ANY(%(tenants)s)) d ON d.exception_id = x.id
  LEFT JOIN exceptions e ON e.exception_id = x.id
 WHERE x.id IS NULL OR (d.exception_id IS NULL AND e.status NOT IN ('RECEIVED', 'IN_PROGRESS'))
"""
"""One that is still under way is not judged here: that it never came to rest breaks L1."""

_RECORDS = """
WITH records AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(records)s::json) AS r(exception uuid, tenant text, position int)
)
"""

_RELAY_SECONDS = 10
"""So young an event may still be on its way to the topic, where a round did not come to rest."""

TABLE_AND_TOPIC_DISAGREE = f"""{_RECORDS}, told AS MATERIALIZED (
    SELECT exception_id, sequence, position, occurred_at FROM events
     WHERE tenant_id = ANY(%(tenants)s) AND type = 'DeadLettered'
), kept AS MATERIALIZED (
    SELECT exception_id, sequence, position FROM dead_letters WHERE tenant_id = ANY(%(tenants)s)
)
SELECT t.exception_id, t.position, 'is in the log and not on the topic' AS because FROM told t
 WHERE NOT EXISTS (SELECT FROM records r WHERE r.exception = t.exception_id AND r.position = t.position)
   AND COALESCE(extract(epoch FROM t.occurred_at), 0) < %(read_at)s - {_RELAY_SECONDS}
 UNION ALL
SELECT r.exception, r.position, 'is on the topic and not in the log' FROM records r
 WHERE NOT EXISTS (SELECT FROM told t WHERE t.exception_id = r.exception AND t.position = r.position)
 UNION ALL
SELECT t.exception_id, t.position, 'is in the log and not in the table' FROM told t
 WHERE NOT EXISTS (SELECT FROM kept k WHERE k.exception_id = t.exception_id AND k.sequence = t.sequence)
 UNION ALL
SELECT k.exception_id, k.position, 'is in the table and not in the log' FROM kept k
 WHERE NOT EXISTS (SELECT FROM told t WHERE t.exception_id = k.exception_id AND t.position = k.position)
"""

LEFT_IN_OUTBOX = """
SELECT o.exception_id, o.sequence, o.ready, o.due_at, e.status FROM outbox o JOIN exceptions e USING (exception_id)
 WHERE o.tenant_id = ANY(%(tenants)s) AND (o.ready OR o.due_at IS NOT NULL OR e.stage = 5)
"""
"""What nobody took, and what waits although its predecessor is finished. Behind one that is not, waiting is right."""

_OF_EXCEPTIONS = tuple(
    table.name
    for table in TENANT_TABLES
    if table.name != "exceptions" and {"tenant_id", "exception_id"} <= set(table.columns.keys())
)

UNDER_ANOTHER = "\n UNION ALL\n".join(
    f"""SELECT '{name}' AS found_in, r.exception_id, r.tenant_id AS tenant, e.tenant_id AS owner
  FROM {name} r JOIN exceptions e USING (exception_id)
 WHERE r.tenant_id <> e.tenant_id AND (r.tenant_id = ANY(%(tenants)s) OR e.tenant_id = ANY(%(tenants)s))"""
    for name in _OF_EXCEPTIONS
)

ACCEPTED_FOR_ANOTHER = f"""{_EXPECTED}
SELECT 'exceptions' AS found_in, x.id AS exception_id, e.tenant_id AS tenant, x.tenant AS owner
  FROM expected x JOIN exceptions e ON e.exception_id = x.id WHERE e.tenant_id <> x.tenant
"""

SAID_BY_ANOTHER = """
SELECT 'inputs, by its actor' AS found_in, i.exception_id, k.tenant_id AS tenant, i.tenant_id AS owner
  FROM inputs i JOIN api_keys k ON k.name = i.actor
 WHERE i.tenant_id = ANY(%(tenants)s) AND k.tenant_id <> i.tenant_id
"""
"""Names of keys are unique in a round, so an input's actor tells whose key it came with."""

CALLED_FOR_ANOTHER = f"""{_CALLS}
SELECT 'calls of tools' AS found_in, f.exception_id, c.tenant, f.tenant_id AS owner
  FROM calls c JOIN effects f USING (key) WHERE c.tenant IS DISTINCT FROM f.tenant_id
"""

RECORDED_FOR_ANOTHER = f"""{_RECORDS}
SELECT 'the dead-letter topic' AS found_in, e.exception_id, r.tenant, e.tenant_id AS owner
  FROM records r JOIN exceptions e ON e.exception_id = r.exception WHERE r.tenant <> e.tenant_id
"""

UNDER_WAY = """
SELECT e.exception_id FROM exceptions e
 WHERE e.tenant_id = ANY(%(tenants)s) AND (e.status IN ('RECEIVED', 'IN_PROGRESS')
                                           OR (e.status <> 'DEAD_LETTERED' AND e.sequence < e.last_sequence))
"""
"""What the pipeline still has to do."""

RESOLVED_AT = """
SELECT extract(epoch FROM occurred_at)::float8 AS at FROM events
 WHERE tenant_id = ANY(%(tenants)s) AND type = 'ExceptionResolved' ORDER BY occurred_at
"""

TO_REST = """
-- When those that nobody has to act on were accepted, and when their first input came to its end.
SELECT extract(epoch FROM e.received_at)::float8 AS accepted,
       extract(epoch FROM (SELECT min(v.occurred_at) FROM events v
                            WHERE v.exception_id = e.exception_id AND v.sequence = 1
                              AND v.type IN ('ExceptionResolved', 'DeadLettered')))::float8 AS rested
  FROM exceptions e
 WHERE e.tenant_id = ANY(%(tenants)s) AND e.exception_type = ANY(%(types)s)
"""
