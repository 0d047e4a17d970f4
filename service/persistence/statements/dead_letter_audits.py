"""Statements of the audit of the dead-letter topic. All run as SYSTEM and see every tenant; none locks a row."""

from __future__ import annotations

from service.persistence.statements.relay import LOGGED

TRY_LOCK = """
-- Two audits would both publish what is missing: harmless, but for nothing.
SELECT pg_try_advisory_lock(%(space)s, hashtext(%(name)s))
"""

STORED = "SELECT snapshot, offsets FROM dead_letter_audits WHERE name = %(name)s"

STORE = """
INSERT INTO dead_letter_audits AS a (name, snapshot, offsets, audited_at, report)
VALUES (%(name)s, %(snapshot)s, %(offsets)s::jsonb, now(), %(report)s::jsonb)
    ON CONFLICT (name) DO UPDATE
       SET snapshot = excluded.snapshot, offsets = excluded.offsets, audited_at = excluded.audited_at,
           report = excluded.report
"""

REPORTS = "SELECT name, audited_at, report FROM dead_letter_audits ORDER BY name"

EVENTS = f"""
-- DeadLettered events that the relay's cursor sees and the last audit did not, each with its dead letter: along
-- events_of_dead_letters.
SELECT w.*, d.position, d.stage, d.tenant_id, d.error_class, d.message, d.signature, d.attempts
  FROM (SELECT {LOGGED}, exception_id AS of_exception, sequence AS of_sequence
          FROM events
         WHERE type = 'DeadLettered' AND (xid >= %(next_xid)s::xid8 OR xid = ANY(%(running)s::xid8[]))
           AND pg_visible_in_snapshot(xid, %(until)s::pg_snapshot)
           AND (%(since)s::timestamptz IS NULL OR occurred_at >= %(since)s)) w
  LEFT JOIN dead_letters d ON d.exception_id = w.of_exception AND d.sequence = w.of_sequence
"""  # noqa: S608 - the only thing put in is a constant

FIND_EVENTS = f"""
-- Events of which there are records; `published`: the relay's cursor sees them.
SELECT w.*
  FROM (SELECT {LOGGED}, pg_visible_in_snapshot(xid, %(until)s::pg_snapshot) AS published
          FROM json_to_recordset(%(records)s::json) AS r(exception uuid, place int)
          JOIN events ON exception_id = r.exception AND position = r.place AND type = 'DeadLettered') w
"""  # noqa: S608 - as above

ROWS_WITHOUT_EVENT = """
-- A dead letter is written in one statement with its event, so both have one time: a probe of one partition each.
SELECT d.exception_id::text, d.position, d.tenant_id
  FROM dead_letters d
 WHERE (%(since)s::timestamptz IS NULL OR d.dead_lettered_at >= %(since)s)
   AND NOT EXISTS (SELECT FROM events e
                    WHERE e.exception_id = d.exception_id AND e.position = d.position
                      AND e.occurred_at = d.dead_lettered_at AND e.type = 'DeadLettered')
 LIMIT %(limit)s
"""
