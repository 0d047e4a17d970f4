"""Statements about dead letters that only read: lists, one with its story, clusters. None of them locks anything.

Who acts on dead letters (redrives, discards) uses CONDITIONS, so that a filter means the same there.
"""

from __future__ import annotations

COLUMNS = """
l.dead_letter_id, l.exception_id, l.sequence, l.position, l.tenant_id, l.stage, l.error_class, l.error_kind, l.message,
l.signature, l.pattern, l.tool, l.attempts, l.state, l.first_dead_lettered_at, l.dead_lettered_at, l.redrives,
l.exception_type, l.source_system, l.domain_version, l.tenant_version, l.settled_at
"""

CONDITIONS = {
    "ids": "AND l.dead_letter_id = ANY(%(ids)s::uuid[])",
    "state": "AND l.state = %(state)s",
    "states": "AND l.state = ANY(%(states)s)",
    "stages": "AND l.stage = ANY(%(stages)s)",
    "error_class": "AND l.error_class = %(error_class)s",
    "error_kinds": "AND l.error_kind = ANY(%(error_kinds)s)",
    "signature": "AND l.signature = %(signature)s",
    "tool": "AND l.tool = %(tool)s",
    "exception_type": "AND l.exception_type = %(exception_type)s",
    "source_system": "AND l.source_system = %(source_system)s",
    "since": "AND l.dead_lettered_at >= %(since)s",
    "until": "AND l.dead_lettered_at < %(until)s",
    "words": (
        "AND (l.message ILIKE %(words)s OR l.error_class ILIKE %(words)s OR l.tool ILIKE %(words)s"
        " OR l.exception_type ILIKE %(words)s OR l.source_system ILIKE %(words)s OR l.exception_id::text LIKE %(words)s"
        " OR l.dead_letter_id::text LIKE %(words)s)"
    ),
}
"""Each filter by the parameter that switches it on, for a statement that has dead letters as `l`. One state alone is an
equality, for then dead_letters_by_tenant has the rows in order."""

LIST = f"""
-- Newest first, along dead_letters_by_tenant; along dead_letters_by_signature where one is named.
SELECT {COLUMNS}
  FROM dead_letters l
 WHERE l.tenant_id = %(tenant)s {{conditions}}
 ORDER BY l.dead_lettered_at DESC, l.dead_letter_id DESC
 LIMIT %(limit)s
"""  # noqa: S608 - made of this module's constants

AFTER = "AND (l.dead_lettered_at, l.dead_letter_id) < (%(after_time)s, %(after_id)s::uuid)"

WITH_BLOCKED = """
-- How many later inputs wait behind each of these, asked once for a page. Only a dead letter that its exception is
-- still at holds anything up.
SELECT l.dead_letter_id, e.last_sequence - e.sequence AS blocking
  FROM dead_letters l JOIN exceptions e ON e.exception_id = l.exception_id AND e.sequence = l.sequence
 WHERE l.dead_letter_id = ANY(%(ids)s::uuid[]) AND e.status = 'DEAD_LETTERED'
"""

GET = f"""
SELECT {COLUMNS}, l.evidence, e.received_at, e.external_id, e.status,
       CASE WHEN e.status = 'DEAD_LETTERED' AND e.sequence = l.sequence THEN e.last_sequence - e.sequence ELSE 0 END
       AS blocking
  FROM dead_letters l JOIN exceptions e ON e.exception_id = l.exception_id
 WHERE l.tenant_id = %(tenant)s AND l.dead_letter_id = %(dead_letter_id)s
"""  # noqa: S608 - made of this module's constants

ATTEMPTS = """
-- Every time this input was tried and failed, and every time somebody sent it again. `since` keeps the months before
-- the exception existed out of the search.
SELECT position, occurred_at, stage, attempt, type, data
  FROM events
 WHERE exception_id = %(exception_id)s AND sequence = %(sequence)s AND occurred_at >= %(since)s
   AND type IN ('RetryScheduled', 'DeadLettered', 'Redriven', 'Discarded')
 ORDER BY position DESC
 LIMIT %(limit)s
"""

LAST_EVENTS = """
SELECT exception_id, tenant_id, position, occurred_at, sequence, stage, attempt, type, trace_id, domain_version,
       tenant_version, data
  FROM events
 WHERE exception_id = %(exception_id)s AND occurred_at >= %(since)s
 ORDER BY position DESC
 LIMIT %(limit)s
"""

CLUSTERS = """
-- One pass over the dead letters groups them; what else is told of a cluster is looked up only for those shown, along
-- dead_letters_by_signature. `tenant` null: of all that the role sees.
WITH grouped AS (
    SELECT l.signature,
           count(*) FILTER (WHERE l.state = ANY(%(shown)s)) AS number,
           count(*) FILTER (WHERE l.state = 'pending') AS pending,
           count(*) FILTER (WHERE l.state = 'redriving') AS redriving,
           count(*) FILTER (WHERE l.state = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE l.state = 'discarded') AS discarded,
           min(l.first_dead_lettered_at) AS first_seen, max(l.dead_lettered_at) AS last_seen
      FROM dead_letters l
     WHERE (%(tenant)s::text IS NULL OR l.tenant_id = %(tenant)s) {conditions}
     GROUP BY l.signature
), shown AS (
    SELECT * FROM grouped
     WHERE number > 0 {after}
     ORDER BY {order} DESC, signature DESC
     LIMIT %(limit)s
)
SELECT s.*, x.dead_letter_id AS example, x.exception_id AS example_exception, x.stage, x.error_class, x.error_kind,
       x.pattern, x.message, x.tool, t.tenants, t.exception_types, t.trend
  FROM shown s
 CROSS JOIN LATERAL (
    SELECT l.* FROM dead_letters l
     WHERE l.signature = s.signature AND (%(tenant)s::text IS NULL OR l.tenant_id = %(tenant)s) {conditions}
     ORDER BY l.state = ANY(%(shown)s) DESC, l.dead_lettered_at DESC, l.dead_letter_id DESC LIMIT 1
 ) x
 CROSS JOIN LATERAL (
    SELECT jsonb_object_agg(name, number) FILTER (WHERE kind = 'tenant') AS tenants,
           jsonb_object_agg(name, number) FILTER (WHERE kind = 'type') AS exception_types,
           jsonb_object_agg(name, number) FILTER (WHERE kind = 'hour') AS trend
      FROM (
    SELECT CASE WHEN grouping(l.tenant_id) = 0 THEN 'tenant' WHEN grouping(l.exception_type) = 0 THEN 'type'
                ELSE 'hour' END AS kind,
           COALESCE(l.tenant_id, l.exception_type, h.hours::text) AS name, count(*) AS number
      FROM dead_letters l,
           LATERAL (SELECT floor(extract(epoch FROM %(now)s::timestamptz - l.dead_lettered_at) / 3600)::int AS hours) h
     WHERE l.signature = s.signature AND (%(tenant)s::text IS NULL OR l.tenant_id = %(tenant)s)
       AND l.state = ANY(%(shown)s) {conditions}
     GROUP BY GROUPING SETS (l.tenant_id, l.exception_type, h.hours)
      ) parts WHERE name IS NOT NULL AND (kind <> 'hour' OR name::int < %(hours)s)
 ) t
 ORDER BY {order} DESC, s.signature DESC
"""
