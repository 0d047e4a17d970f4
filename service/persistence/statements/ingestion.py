"""Statements that take things in: new exceptions, repeated requests, and later inputs of an exception."""

from __future__ import annotations

_ITEMS = """
    b AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%(items)s::json)
            AS item(exception_id uuid, lane smallint, trace_id uuid, source_system text, external_id text,
                    exception_type text, severity text, entity text, payload bytea, occurred_at timestamptz)
    )
"""

_WRITE = """
    accepted AS (
        INSERT INTO exceptions (exception_id, tenant_id, status, sequence, last_sequence, stage, position, lane,
                                source_system, external_id, exception_type, reported_severity, confidence, entity,
                                sealed_payload, trace_id, occurred_at, received_at, updated_at)
        SELECT exception_id, %(tenant)s, 'RECEIVED', 1, 1, 0, 1, lane, source_system, external_id, exception_type,
               severity, 1, entity, payload, trace_id, COALESCE(occurred_at, %(now)s), %(now)s, %(now)s
          FROM fresh
    ), happened AS (
        INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id, data)
        SELECT exception_id, 1, %(now)s, %(tenant)s, 1, 0, 'ExceptionIngested', trace_id,
               jsonb_strip_nulls(jsonb_build_object('sourceSystem', source_system, 'externalId', external_id,
                                                    'exceptionType', exception_type, 'severity', severity))
          FROM fresh
    ), queued AS (
        INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready)
        SELECT exception_id, 1, %(tenant)s, lane, 0, true FROM fresh
    )
"""

ACCEPT = f"""
-- Takes no lock that anybody waits for: every row is new.
WITH {_ITEMS}, fresh AS (SELECT * FROM b), {_WRITE}
SELECT 1
"""  # noqa: S608 - made of this module's constants

ACCEPT_ONCE = f"""
-- As ACCEPT, for items that came with keys. `known` is what earlier requests left under these keys; the rest
-- is claimed. Keys are inserted in their order, so that two requests with the same keys queue up behind one
-- another instead of deadlocking. A key that is neither known nor claimed was committed by another request
-- between this statement's snapshot and its insert: the row comes back as raced, and the caller rolls back.
WITH {_ITEMS}, k AS MATERIALIZED (
        SELECT key, exception_id, decode(hash, 'hex') AS hash
          FROM json_to_recordset(%(keys)s::json) AS key(key text, exception_id uuid, hash text)
    ), known AS MATERIALIZED (
        SELECT k.exception_id, (array_agg(i.exception_id ORDER BY i.created_at))[1] AS original,
               bool_and(i.request_hash = k.hash) AS same
          FROM k JOIN idempotency_keys i ON i.tenant_id = %(tenant)s AND i.key = k.key
         GROUP BY k.exception_id
    ), claimed AS (
        INSERT INTO idempotency_keys (tenant_id, key, request_hash, exception_id, sequence, created_at)
        SELECT %(tenant)s, k.key, k.hash, COALESCE(known.original, k.exception_id), 1, %(now)s
          FROM k LEFT JOIN known USING (exception_id)
         WHERE COALESCE(known.same, true)
         ORDER BY k.key
            ON CONFLICT DO NOTHING
        RETURNING key
    ), fresh AS (
        SELECT * FROM b WHERE exception_id NOT IN (SELECT exception_id FROM known)
    ), {_WRITE}
SELECT exception_id, original, same, false AS raced FROM known
 UNION ALL
SELECT k.exception_id, NULL, NULL, true
  FROM k
 WHERE k.exception_id NOT IN (SELECT exception_id FROM known) AND k.key NOT IN (SELECT key FROM claimed)
"""  # noqa: S608 - made of this module's constants

IGNORE_DUPLICATES = """
-- Locks the originals in id order, as every statement that locks several exceptions does. Comes after
-- ACCEPT_ONCE in its transaction: keys first, rows second, so two requests can't wait for each other.
WITH d AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%(duplicates)s::json) AS d(exception_id uuid, requests int)
    ), locked AS MATERIALIZED (
        SELECT exception_id FROM exceptions
         WHERE exception_id IN (SELECT exception_id FROM d) ORDER BY exception_id FOR UPDATE
    ), moved AS (
        UPDATE exceptions e SET position = e.position + 1
          FROM locked JOIN d USING (exception_id)
         WHERE e.exception_id = locked.exception_id
        RETURNING e.exception_id, e.position, e.trace_id, e.domain_version, e.tenant_version, d.requests
    )
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                    domain_version, tenant_version, data)
SELECT exception_id, position, %(now)s, %(tenant)s, 1, 0, 'DuplicateIgnored', trace_id,
       domain_version, tenant_version, jsonb_build_object('requests', requests)
  FROM moved
"""

NOTIFY = "SELECT pg_notify('outbox', '')"
"""Once a transaction: it wakes the dispatchers at commit and takes a global lock there."""

LOCK = """
-- The lock under which an input gets its sequence; stages take the same one before they apply a decision.
SELECT status, stage, last_sequence FROM exceptions WHERE exception_id = %(exception_id)s FOR UPDATE
"""

FIND_KEY = """
SELECT request_hash, sequence FROM idempotency_keys WHERE tenant_id = %(tenant)s AND key = %(key)s
"""

CLAIM_KEY = """
INSERT INTO idempotency_keys (tenant_id, key, request_hash, exception_id, sequence, created_at)
VALUES (%(tenant)s, %(key)s, %(hash)s, %(exception_id)s, %(sequence)s, %(now)s)
"""

APPEND_INPUT = """
-- Under LOCK. An input that becomes the current one moves the row to its entry stage; one that has to wait
-- for its predecessor leaves stage, status and updated_at alone: the row did not move.
WITH moved AS (
        UPDATE exceptions
           SET last_sequence = last_sequence + 1, position = position + 1,
               sequence = CASE WHEN %(current)s THEN last_sequence + 1 ELSE sequence END,
               stage = CASE WHEN %(current)s THEN %(stage)s ELSE stage END,
               status = CASE WHEN %(current)s THEN 'IN_PROGRESS' ELSE status END,
               updated_at = CASE WHEN %(current)s THEN %(now)s ELSE updated_at END
         WHERE exception_id = %(exception_id)s
        RETURNING tenant_id, last_sequence, position, lane, trace_id, domain_version, tenant_version
    ), input AS (
        INSERT INTO inputs (exception_id, sequence, tenant_id, type, data, sealed_data, actor, received_at)
        SELECT %(exception_id)s, last_sequence, tenant_id, %(type)s, '{}'::jsonb, %(sealed)s, %(actor)s, %(now)s
          FROM moved
    ), happened AS (
        INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                            domain_version, tenant_version, data)
        SELECT %(exception_id)s, position, %(now)s, tenant_id, last_sequence, %(stage)s, %(event)s, trace_id,
               domain_version, tenant_version, %(event_data)s::jsonb
          FROM moved
    )
INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready)
SELECT %(exception_id)s, last_sequence, tenant_id, lane, %(stage)s, %(current)s FROM moved
RETURNING sequence
"""
