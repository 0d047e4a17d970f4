"""Statements about sealed values: one is shown to a person, all move to another key."""

from __future__ import annotations

LOCK_PAYLOAD = """
-- Locked, so that the event takes the next position.
SELECT sealed_payload, redacted_payload FROM exceptions
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s FOR UPDATE
"""

NOTE_READING = """
-- Under LOCK_PAYLOAD. Nothing else about the row changes: looking is no work.
WITH moved AS (
    UPDATE exceptions SET position = position + 1
     WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s
    RETURNING exception_id, position, tenant_id, sequence, stage, trace_id, domain_version, tenant_version
)
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                    domain_version, tenant_version, data)
SELECT exception_id, position, %(now)s, tenant_id, sequence, LEAST(stage, 4), %(event)s, trace_id,
       domain_version, tenant_version, %(data)s::jsonb
  FROM moved
"""

_OTHER_KEY = "substring({column} FROM 1 FOR length(%(header)s::bytea)) IS DISTINCT FROM %(header)s::bytea"
"""Not sealed with the key of that header: with another, or not at all."""

_TENANT = "AND (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)"

PAYLOADS_LEFT = f"""
SELECT count(*) AS number FROM exceptions WHERE {_OTHER_KEY.format(column="sealed_payload")} {_TENANT}
"""  # noqa: S608 - made of this module's constants

INPUTS_LEFT = f"""
SELECT count(*) AS number FROM inputs
 WHERE sealed_data IS NOT NULL AND {_OTHER_KEY.format(column="sealed_data")} {_TENANT}
"""  # noqa: S608 - made of this module's constants

LOCK_PAYLOADS = f"""
-- Locks in id order, as stages do, and only for one small batch: a stage waits for milliseconds.
SELECT exception_id, tenant_id, sealed_payload AS sealed, 0 AS sequence FROM exceptions
 WHERE exception_id > %(after)s::uuid AND {_OTHER_KEY.format(column="sealed_payload")} {_TENANT}
 ORDER BY exception_id LIMIT %(limit)s
   FOR UPDATE
"""  # noqa: S608 - made of this module's constants

LOCK_INPUTS = f"""
-- Nobody else changes inputs.
SELECT exception_id, tenant_id, sealed_data AS sealed, sequence FROM inputs
 WHERE (exception_id, sequence) > (%(after)s::uuid, %(after_sequence)s)
   AND sealed_data IS NOT NULL AND {_OTHER_KEY.format(column="sealed_data")} {_TENANT}
 ORDER BY exception_id, sequence LIMIT %(limit)s
   FOR UPDATE
"""  # noqa: S608 - made of this module's constants

RESEAL_PAYLOADS = """
UPDATE exceptions e SET sealed_payload = r.sealed
  FROM json_to_recordset(%(rows)s::json) AS r(exception_id uuid, sealed bytea)
 WHERE e.exception_id = r.exception_id
"""

RESEAL_INPUTS = """
UPDATE inputs i SET sealed_data = r.sealed
  FROM json_to_recordset(%(rows)s::json) AS r(exception_id uuid, sequence int, sealed bytea)
 WHERE i.exception_id = r.exception_id AND i.sequence = r.sequence
"""
