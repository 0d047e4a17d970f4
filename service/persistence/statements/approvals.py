"""Statements of approvals: asked for by stages, given and refused by people through the API.

The row of the exception is locked in every transaction that changes one, by the stage's load or the API's LOCK.
`APPROVALS_AFTER` and `APPROVAL_JOIN` are parts of the stages' statements.
"""

from __future__ import annotations

APPROVALS_COLUMN = "approval json"
"""What a stage's decision calls it: `{reason, plan_hash, approvals_needed, due_at, voided}`, or absent.

`voided`: somebody had approved, but another plan than the one that would be carried out.
"""

APPROVALS_AFTER = """, withdrawn AS (
    -- A pending approval ends when its exception is judged anew. One that rests in PENDING_APPROVAL again without
    -- having been asked for anew was only looked at (a timer that came too late), and goes on waiting.
    UPDATE approvals a SET state = CASE a.state WHEN 'pending' THEN 'superseded' ELSE 'voided' END
      FROM moved m JOIN decided d ON d.id = m.exception_id
     WHERE m.sequence > 1 AND a.exception_id = m.exception_id AND a.sequence < m.sequence
       AND CASE a.state
           WHEN 'pending' THEN d.approval IS NOT NULL OR d.finished IS DISTINCT FROM 'PENDING_APPROVAL'
           WHEN 'approved' THEN COALESCE((d.approval ->> 'voided')::boolean, false)
                AND NOT EXISTS (SELECT FROM approvals b
                                 WHERE b.exception_id = a.exception_id AND b.sequence > a.sequence)
           ELSE false END
), asked AS (
    INSERT INTO approvals (exception_id, sequence, tenant_id, state, reason, requested_at, plan_hash,
                           approvals_needed, due_at)
    SELECT m.exception_id, m.sequence, m.tenant_id, 'pending', d.approval ->> 'reason', %(now)s,
           d.approval ->> 'plan_hash', COALESCE((d.approval ->> 'approvals_needed')::smallint, 1),
           (d.approval ->> 'due_at')::timestamptz
      FROM moved m JOIN decided d ON d.id = m.exception_id WHERE d.approval IS NOT NULL
)"""

APPROVAL_COLUMNS = "w.plan_hash AS approval_hash, w.approvals_needed, w.given, w.undecided, w.due_at AS approval_due_at"

APPROVAL_JOIN = """
  LEFT JOIN LATERAL (SELECT a.plan_hash, a.approvals_needed, a.due_at, a.state IN ('pending', 'expired') AS undecided,
                            ARRAY(SELECT g.given_by FROM approvals_given g
                                   WHERE g.exception_id = a.exception_id AND g.sequence = a.sequence
                                   ORDER BY g.given_at) AS given
                       FROM approvals a WHERE a.exception_id = e.exception_id AND e.sequence > 1
                      ORDER BY a.sequence DESC LIMIT 1) w ON true
"""
"""The newest approval asked for. The first input of an exception has none, and is not searched for one."""

PENDING = """
-- Under LOCK. Who has approved is a list of the keys that did, for two keys may have one name.
SELECT a.sequence, a.plan_hash, a.approvals_needed, a.due_at,
       ARRAY(SELECT g.key_id::text FROM approvals_given g
              WHERE g.exception_id = a.exception_id AND g.sequence = a.sequence) AS given
  FROM approvals a
 WHERE a.exception_id = %(exception_id)s AND a.state = 'pending'
 ORDER BY a.sequence DESC LIMIT 1
"""

GIVE = """
INSERT INTO approvals_given (exception_id, sequence, key_id, tenant_id, given_by, comment, given_at)
VALUES (%(exception_id)s, %(sequence)s, %(key_id)s, %(tenant)s, %(actor)s, %(comment)s, %(now)s)
"""

DECIDE = """
UPDATE approvals
   SET state = %(state)s, decided_at = %(now)s, decided_by = %(actor)s, comment = %(comment)s
 WHERE exception_id = %(exception_id)s AND state = 'pending'
"""

WITHDRAW = """
-- The exception is cancelled, so nobody is asked any more.
UPDATE approvals SET state = 'superseded', decided_at = %(now)s
 WHERE exception_id = %(exception_id)s AND state = 'pending'
"""

NOTE = """
-- Under LOCK: an event that belongs to no input of its own, for the exception goes on waiting.
WITH moved AS (
    UPDATE exceptions SET position = position + 1
     WHERE exception_id = %(exception_id)s
    RETURNING tenant_id, sequence, position, trace_id, domain_version, tenant_version
)
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id,
                    domain_version, tenant_version, data)
SELECT %(exception_id)s, position, %(now)s, tenant_id, sequence, %(stage)s, %(event)s, trace_id,
       domain_version, tenant_version, %(data)s::jsonb
  FROM moved
"""

NEWEST = """
SELECT sequence, state, reason, requested_at, decided_at, decided_by, plan_hash, approvals_needed, due_at
  FROM approvals
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s
 ORDER BY sequence DESC
 LIMIT 1
"""

GIVEN = """
SELECT given_by, given_at FROM approvals_given
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s AND sequence = %(sequence)s
 ORDER BY given_at
"""
