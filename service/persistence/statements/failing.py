"""Statements about what failed in a stage: an attempt that is to be repeated, an exception that is given up.

They take a batch's failures as one JSON array, under the guard of `service.persistence.statements.applying`.
"""

from __future__ import annotations

from service.persistence.statements.applying import GUARD
from service.persistence.statements.notifications import told

RECORD_RETRIES = """
-- The exceptions stay where they are; the time lets the reconciler leave them alone until then. Locks rows in
-- the order of the update, one batch's failures at a time; a deadlock is retried as an outage is.
WITH decided AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(decisions)s::json)
        AS d(id uuid, sequence int, attempt smallint, rate_limited smallint, retry_at timestamptz, data json)
), moved AS (
    UPDATE exceptions e
       SET attempt = d.attempt, rate_limited = d.rate_limited, retry_at = d.retry_at,
           hold_reason = NULL, position = e.position + 1, updated_at = %(now)s
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

_DEAD_LETTER = """
-- The event stays unfinished: its row keeps sequence and stage, so every later event of the exception waits. An input
-- has one dead letter: failing again after a redrive, it is pending again. Its row is only written under the lock of
-- its exception's, which the update takes.
WITH decided AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(decisions)s::json)
        AS d(id uuid, sequence int, attempts smallint, dead_letter_id uuid, error_class text, error_kind text,
             message text, pattern text, signature text, tool text, evidence jsonb)
), moved AS (
    UPDATE exceptions e
       SET status = 'DEAD_LETTERED', attempt = d.attempts, retry_at = NULL, hold_reason = NULL, held_since = NULL,
           position = e.position + 1,
           updated_at = %(now)s
      FROM decided d
     WHERE e.exception_id = d.id
       {guard}
    RETURNING e.*, d.dead_letter_id, d.attempts, d.error_class, d.error_kind, d.message, d.pattern, d.signature, d.tool,
              d.evidence
), kept AS (
    INSERT INTO dead_letters AS l (dead_letter_id, exception_id, sequence, position, tenant_id, stage, error_class,
                                   error_kind, message, signature, pattern, tool, attempts, first_dead_lettered_at,
                                   dead_lettered_at, exception_type, source_system, domain_version, tenant_version,
                                   evidence)
    SELECT dead_letter_id, exception_id, sequence, position, tenant_id, stage, error_class, error_kind, message,
           signature, pattern, tool, attempts, %(now)s, %(now)s, exception_type, source_system, domain_version,
           tenant_version, evidence
      FROM moved
    ON CONFLICT (exception_id, sequence) DO UPDATE
       SET state = 'pending', settled_at = NULL, position = excluded.position, stage = excluded.stage,
           error_class = excluded.error_class, error_kind = excluded.error_kind, message = excluded.message,
           signature = excluded.signature, pattern = excluded.pattern, tool = excluded.tool,
           attempts = excluded.attempts, dead_lettered_at = excluded.dead_lettered_at,
           exception_type = excluded.exception_type, source_system = excluded.source_system,
           domain_version = excluded.domain_version, tenant_version = excluded.tenant_version,
           evidence = excluded.evidence
    -- Of an input that failed before identifiers were derived, it is another than the one decided.
    RETURNING l.exception_id, l.dead_letter_id
){told}
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, attempt, type, trace_id,
                    domain_version, tenant_version, data)
SELECT m.exception_id, m.position, %(now)s, m.tenant_id, m.sequence, m.stage, m.attempts, 'DeadLettered', m.trace_id,
       m.domain_version, m.tenant_version,
       jsonb_build_object('errorClass', m.error_class, 'errorKind', m.error_kind, 'message', m.message,
                          'attempts', m.attempts, 'signature', m.signature, 'tool', m.tool,
                          'deadLetterId', k.dead_letter_id)
  FROM moved m JOIN kept k ON k.exception_id = m.exception_id
""".replace("{guard}", GUARD)

DEAD_LETTER_TELLING = _DEAD_LETTER.replace("{told}", told("m.position"))
"""As DEAD_LETTER, where somebody is to be told of it."""

DEAD_LETTER = _DEAD_LETTER.replace("{told}", "")
