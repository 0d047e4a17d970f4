"""Statements of notifications: written with the event they tell of, handed out, sent and settled.

`due_at` is when a row is looked at next: an intent's time to be sent, the end of the lease of one that is on its way.
It is null once nothing is left to do. `claim` counts how often a row was taken and fences what came of it.
"""

from __future__ import annotations


def told(position: str) -> str:
    """The common table expression that writes notifications of rows that really `moved`, in their statement.

    `position`: of the event a notification `n` is about, in terms of `m`, the row of its exception.
    """
    return f""", told AS (
    INSERT INTO notifications (exception_id, position, policy, tenant_id, event, channel, params, domain_version,
                               tenant_version, state, error, due_at, created_at)
    SELECT m.exception_id, {position}, n.policy, m.tenant_id, n.event, n.channel, n.params, n.domain_version,
           n.tenant_version, CASE WHEN n.error IS NULL THEN 'intent' ELSE 'failed' END, n.error,
           CASE WHEN n.error IS NULL THEN %(now)s::timestamptz END, %(now)s
      FROM json_to_recordset(%(notices)s::json) AS n(id uuid, place int, policy text, event text, channel text,
                                                     params jsonb, domain_version int, tenant_version int, error text)
      JOIN moved m ON m.exception_id = n.id
)"""  # noqa: S608 - made of this project's constants


HAND_OUT = """
-- As SYSTEM. What is due is not handed out again for a while: the message that carries it may take its time. Two
-- dispatchers that look together take different rows; a message that was lost leaves rows that become due again.
WITH due AS MATERIALIZED (
    SELECT exception_id, position, policy FROM notifications
     WHERE due_at <= %(now)s AND tenant_id <> ALL(%(paused)s::text[])
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE notifications n SET due_at = %(now)s::timestamptz + make_interval(secs => %(seconds)s)
  FROM due d WHERE n.exception_id = d.exception_id AND n.position = d.position AND n.policy = d.policy
RETURNING n.tenant_id, n.exception_id, n.position, n.policy, n.claim
"""

TAKE = """
-- Only the first of several messages about the same row finds its claim.
SELECT n.exception_id, n.position, n.policy, n.tenant_id, n.params, n.domain_version, n.tenant_version, n.state,
       n.claim, n.attempts
  FROM json_to_recordset(%(references)s::json) AS r(exception_id uuid, position int, policy text, claim int)
  JOIN notifications n ON n.exception_id = r.exception_id AND n.position = r.position AND n.policy = r.policy
 WHERE n.claim = r.claim AND n.state IN ('intent', 'sent')
   FOR UPDATE OF n SKIP LOCKED
"""

SETTLE = """
-- What is known now of notifications that the caller took: `claim` is the one it took them with.
UPDATE notifications n
   SET state = s.state, claim = n.claim + 1, attempts = s.attempts, error = s.error, due_at = s.due_at,
       sent_at = CASE WHEN s.state = 'sent' THEN %(now)s ELSE n.sent_at END,
       finished_at = CASE WHEN s.state IN ('confirmed', 'failed', 'unknown') THEN %(now)s::timestamptz END
  FROM json_to_recordset(%(settled)s::json)
       AS s(exception_id uuid, position int, policy text, claim int, state text, attempts smallint, error text,
            due_at timestamptz)
 WHERE n.exception_id = s.exception_id AND n.position = s.position AND n.policy = s.policy AND n.claim = s.claim
"""

OF_EXCEPTION = """
SELECT position, policy, event, channel, state, attempts, error, created_at, sent_at, finished_at
  FROM notifications
 WHERE tenant_id = %(tenant)s AND exception_id = %(exception_id)s
 ORDER BY position DESC, policy
 LIMIT %(limit)s
"""
