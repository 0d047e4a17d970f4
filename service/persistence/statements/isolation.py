"""Statements of poison isolation: which deliveries were begun, and what of one that did not survive is still due."""

from __future__ import annotations

from service.persistence.statements.applying import GUARD


def gone(written_at: str, session: str) -> str:
    """Whether the process that wrote a row is dead: it had sessions then, and has none now. A restart of the server
    ends the sessions of the living too, so what was written before says nothing."""
    return f"""{written_at} > pg_postmaster_start_time()
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = {session})"""


BEGIN = """
-- Says what this thread of this process works from now on, over what it said before: that came to an end, else the
-- thread would be gone. Returns earlier beginnings of the same delivery by others, of which nobody reports. One row is
-- locked, which only its own thread writes. There is no index on the delivery, so that the update stays in its page:
-- there are as many rows as threads that work.
WITH begun AS (
    INSERT INTO deliveries (slot, delivery, retries, stage, exceptions, worker, process, session, began_at)
    VALUES (%(slot)s, %(delivery)s, %(retries)s, %(stage)s, %(exceptions)s, %(worker)s, %(process)s, %(session)s,
            now())
    ON CONFLICT (slot) DO UPDATE
       SET delivery = excluded.delivery, retries = excluded.retries, stage = excluded.stage,
           exceptions = excluded.exceptions, worker = excluded.worker, began_at = excluded.began_at
)
SELECT worker, process, began_at, ({gone}) AS gone FROM deliveries d
 WHERE delivery = %(delivery)s AND retries = %(retries)s AND slot <> %(slot)s
 ORDER BY began_at
""".replace("{gone}", gone("began_at", "session"))

END = """
-- For a delivery that ended as it should and left exceptions where they were: it would look as if it had not.
UPDATE deliveries SET delivery = NULL WHERE slot = %(slot)s
"""

FORGET = """
-- Threads that are gone, and what they began so long ago that it was delivered again since, or never will be.
DELETE FROM deliveries WHERE began_at < now() - interval '1 day'
"""

LANDING = """
-- One row is locked, which only its own process writes. The array is as long as calls may be under way in a process.
INSERT INTO landings (session, exceptions, written_at)
VALUES (%(session)s, %(exceptions)s::uuid[], %(now)s)
ON CONFLICT (session) DO UPDATE SET exceptions = excluded.exceptions, written_at = excluded.written_at
"""

FORGET_LANDINGS = """
-- What the reconciler did not take for a process's end, because the server was restarted since.
DELETE FROM landings WHERE written_at < now() - interval '1 day'
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
