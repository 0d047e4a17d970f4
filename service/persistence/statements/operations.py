"""Statements of operations on many dead letters. All but WATCHED act as the operation's tenant.

An operation's row is locked by whoever works it, before anything else is; its items need no lock of their own.
"""

from __future__ import annotations

WATCHED = """
-- As SYSTEM: whose operations there is something to do about, the oldest first.
SELECT operation_id, tenant_id FROM redrives WHERE watched ORDER BY operation_id LIMIT %(limit)s
"""

CREATE = """
INSERT INTO redrives (operation_id, tenant_id, action, state, in_canary, watched, filter, from_stage, packs, canary,
                      canary_timeout_seconds, rate_per_second, tokens, tokens_at, requested_by, reason, history,
                      idempotency_key, request_hash, created_at)
VALUES (%(operation_id)s, %(tenant)s, %(action)s, %(state)s, %(canary)s > 0, true, %(filter)s::jsonb, %(from_stage)s,
        %(packs)s, %(canary)s, %(canary_timeout)s, %(rate)s, 0, %(now)s, %(by)s, %(reason)s, %(history)s::jsonb,
        %(key)s, %(hash)s, %(now)s)
ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
RETURNING operation_id
"""

CHOOSE = """
-- The set is fixed here: what is dead-lettered later is not part of it. No lock: each is judged when its turn comes.
INSERT INTO redrive_items (operation_id, place, tenant_id, dead_letter_id, state)
SELECT %(operation_id)s, row_number() OVER (ORDER BY dead_lettered_at, dead_letter_id), %(tenant)s, dead_letter_id,
       'pending'
  FROM (SELECT l.dead_letter_id, l.dead_lettered_at FROM dead_letters l
         WHERE l.tenant_id = %(tenant)s {conditions}
         ORDER BY l.dead_lettered_at, l.dead_letter_id LIMIT %(limit)s) chosen
"""

BY_KEY = """
SELECT operation_id, request_hash FROM redrives WHERE tenant_id = %(tenant)s AND idempotency_key = %(key)s
"""

_COLUMNS = """
operation_id, action, state, state_reason, in_canary, watched, filter, from_stage, packs, canary,
canary_timeout_seconds, rate_per_second, tokens, tokens_at, requested_by, reason, history, created_at, started_at,
last_sent_at, finished_at
"""

LOCK = f"""
-- For a person's stop or resume: waits for the transaction that works it.
SELECT {_COLUMNS} FROM redrives WHERE tenant_id = %(tenant)s AND operation_id = %(operation_id)s FOR UPDATE
"""  # noqa: S608 - made of this module's constants

TAKE = f"""
-- For the executor: one dispatcher works an operation at a time, so its pace and its canary are one count.
SELECT {_COLUMNS} FROM redrives
 WHERE tenant_id = %(tenant)s AND operation_id = %(operation_id)s AND watched FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - made of this module's constants

GET = f"""
SELECT {_COLUMNS} FROM redrives WHERE tenant_id = %(tenant)s AND operation_id = %(operation_id)s
"""  # noqa: S608 - made of this module's constants

LIST = f"""
-- Ids are UUIDv7, so their order is that of creation.
SELECT {_COLUMNS} FROM redrives
 WHERE tenant_id = %(tenant)s AND (%(before)s::uuid IS NULL OR operation_id < %(before)s::uuid)
 ORDER BY operation_id DESC LIMIT %(limit)s
"""  # noqa: S608 - made of this module's constants

SETTLE_ITEMS = """
-- What became of the items that were sent. One whose dead letter is being worked for the same time is still under way.
UPDATE redrive_items i
   SET state = CASE WHEN d.state = 'succeeded' AND d.redrives = i.number THEN 'succeeded' ELSE 'failed' END,
       outcome = CASE WHEN d.state = 'succeeded' AND d.redrives = i.number THEN e.resting_status
                      ELSE left(d.error_class || ': ' || d.message, 500) END,
       settled_at = %(now)s
  FROM dead_letters d JOIN exceptions e ON e.exception_id = d.exception_id
 WHERE i.operation_id = %(operation_id)s AND i.state = 'sent' AND d.dead_letter_id = i.dead_letter_id
   AND NOT (d.state = 'redriving' AND d.redrives = i.number)
"""

COUNTS = """
SELECT operation_id, count(*) FILTER (WHERE state = 'pending')::int AS pending,
       count(*) FILTER (WHERE state = 'sent')::int AS sent,
       count(*) FILTER (WHERE state = 'succeeded')::int AS succeeded,
       count(*) FILTER (WHERE state = 'failed')::int AS failed,
       count(*) FILTER (WHERE state = 'skipped')::int AS skipped,
       count(*) FILTER (WHERE state = 'succeeded' AND outcome = 'ESCALATED')::int AS badly,
       count(*) FILTER (WHERE sent_at > %(lately)s)::int AS sent_lately
  FROM redrive_items WHERE operation_id = ANY(%(operations)s::uuid[]) GROUP BY operation_id
"""

NEXT_ITEMS = """
SELECT place, dead_letter_id FROM redrive_items
 WHERE operation_id = %(operation_id)s AND state = 'pending' ORDER BY place LIMIT %(limit)s
"""

NOTE_ITEMS = """
UPDATE redrive_items i
   SET state = n.state, number = n.number, outcome = n.outcome,
       sent_at = CASE WHEN n.state <> 'skipped' THEN %(now)s::timestamptz END,
       settled_at = CASE WHEN n.state <> 'sent' THEN %(now)s::timestamptz END
  FROM json_to_recordset(%(items)s::json) AS n(place int, state text, number int, outcome text)
 WHERE i.operation_id = %(operation_id)s AND i.place = n.place
"""

NOTE = """
-- Under TAKE or LOCK.
UPDATE redrives
   SET state = %(state)s, state_reason = %(state_reason)s, in_canary = %(in_canary)s, watched = %(watched)s,
       tokens = %(tokens)s, tokens_at = %(tokens_at)s, started_at = COALESCE(started_at, %(started_at)s),
       last_sent_at = COALESCE(%(sent_at)s, last_sent_at), finished_at = %(finished_at)s,
       history = history || %(entries)s::jsonb
 WHERE operation_id = %(operation_id)s
"""

EXAMPLES = """
SELECT i.place, i.dead_letter_id, d.exception_id, i.state, i.outcome
  FROM redrive_items i JOIN dead_letters d USING (dead_letter_id)
 WHERE i.tenant_id = %(tenant)s AND i.operation_id = %(operation_id)s AND i.state = %(state)s
 ORDER BY i.place LIMIT %(limit)s
"""

OUTCOMES = """
-- What came of the items, by what they have in common: how many succeeded where, failed or were left out why.
SELECT state, outcome, count(*)::int AS number FROM redrive_items
 WHERE tenant_id = %(tenant)s AND operation_id = %(operation_id)s AND outcome IS NOT NULL
 GROUP BY state, outcome ORDER BY number DESC, state, outcome LIMIT %(limit)s
"""
