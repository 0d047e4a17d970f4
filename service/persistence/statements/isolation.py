"""Statements of poison isolation: which deliveries were begun, and what of one that did not survive is still due."""

from __future__ import annotations

from service.persistence.statements.stages import GUARD

BEGIN = """
-- Says what this thread of this process works from now on, over what it said before: that came to an end, else the
-- thread would be gone. Returns earlier beginnings of the same delivery by others, of which nobody reports. One row is
-- locked, which only its own thread writes. There is no index on the delivery, so that the update stays in its page:
-- there are as many rows as threads that work.
WITH begun AS (
    INSERT INTO deliveries (slot, delivery, retries, stage, exceptions, worker, process, began_at)
    VALUES (%(slot)s, %(delivery)s, %(retries)s, %(stage)s, %(exceptions)s, %(worker)s, %(process)s, now())
    ON CONFLICT (slot) DO UPDATE
       SET delivery = excluded.delivery, retries = excluded.retries, stage = excluded.stage,
           exceptions = excluded.exceptions, worker = excluded.worker, began_at = excluded.began_at
)
SELECT worker, process, began_at FROM deliveries
 WHERE delivery = %(delivery)s AND retries = %(retries)s AND slot <> %(slot)s
 ORDER BY began_at
"""

END = """
-- For a delivery that ended as it should and left exceptions where they were: it would look as if it had not.
UPDATE deliveries SET delivery = NULL WHERE slot = %(slot)s
"""

FORGET = """
-- Threads that are gone, and what they began so long ago that it was delivered again since, or never will be.
DELETE FROM deliveries WHERE began_at < now() - interval '1 day'
"""

LET_GO = """
-- Effects that a delivery sent whose process is dead beyond doubt: nobody can write their answers any more, so nobody
-- needs to wait until their lease is over. What is done about them is the effect ledger's to say, as ever. Effects only
-- change under their exception's row lock, which the caller holds.
UPDATE tool_executions SET lease_until = sent_at
 WHERE exception_id = ANY(%(ids)s::uuid[]) AND state = 'sent' AND lease_until > now() AND sent_at >= %(began_at)s
"""

SUSPECT = """
-- What of a delivery is still due here. Locked in id order, as by a stage, so that this waits for a delivery that is
-- not dead after all: what that one decided is not due any more. retry_at keeps the reconciler from sending copies of
-- what is about to travel in parts.
WITH suspected AS MATERIALIZED (
    SELECT e.exception_id
      FROM exceptions e
      JOIN json_to_recordset(%(references)s::json) AS d(id uuid, sequence int) ON e.exception_id = d.id
     WHERE e.status IN ('RECEIVED', 'IN_PROGRESS')
       {guard}
     ORDER BY e.exception_id
       FOR UPDATE OF e
)
UPDATE exceptions e SET retry_at = %(until)s
  FROM suspected s WHERE e.exception_id = s.exception_id
RETURNING e.exception_id
""".replace("{guard}", GUARD)
