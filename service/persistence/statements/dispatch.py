"""Statements of the dispatcher. They run as the SYSTEM role and see every tenant's outbox."""

ENSURE_LANES = """
INSERT INTO lanes (lane) SELECT generate_series(0, %(lanes)s - 1) ON CONFLICT DO NOTHING
"""

ATTEND = """
-- Says that I am here, whether or not I hold a lane, so that the others give me my share.
INSERT INTO dispatchers (holder, seen_until) VALUES (%(holder)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (holder) DO UPDATE SET seen_until = excluded.seen_until
"""

FAIR_SHARE = """
SELECT ceil((SELECT count(*) FROM lanes)::numeric / count(*))::int AS lanes
  FROM dispatchers WHERE seen_until > now()
"""

RENEW = """
-- Renews my lanes up to my fair share and lets the rest go. Row locks only for the length of the statement.
WITH mine AS (
    SELECT lane, row_number() OVER (ORDER BY lane) AS place FROM lanes
     WHERE holder = %(holder)s AND leased_until > now()
)
UPDATE lanes l
   SET leased_until = CASE WHEN m.place <= %(share)s THEN now() + make_interval(secs => %(seconds)s) END,
       holder = CASE WHEN m.place <= %(share)s THEN %(holder)s END
  FROM mine m WHERE l.lane = m.lane
RETURNING l.lane, l.holder
"""

CLAIM = """
-- Takes free lanes. SKIP LOCKED, so that two dispatchers starting together take different ones.
UPDATE lanes
   SET holder = %(holder)s, leased_until = now() + make_interval(secs => %(seconds)s)
 WHERE lane IN (SELECT lane FROM lanes WHERE leased_until IS NULL OR leased_until <= now()
                 ORDER BY lane LIMIT %(wanted)s FOR UPDATE SKIP LOCKED)
RETURNING lane
"""

RELEASE = """
WITH gone AS (DELETE FROM dispatchers WHERE holder = %(holder)s OR seen_until < now() - interval '1 day')
UPDATE lanes SET holder = NULL, leased_until = NULL WHERE holder = %(holder)s
"""

LANES_WITH_WORK = """
-- One index probe a lane: which of my lanes have ready work.
SELECT l.lane FROM unnest(%(lanes)s::smallint[]) AS l(lane)
 WHERE EXISTS (SELECT FROM outbox o WHERE o.lane = l.lane AND o.ready)
"""

TAKE = """
-- Takes up to `size` ready rows of one lane: every tenant's first, then every tenant's second, and so on, so
-- that a tenant with a long backlog does not delay another's single exception. Tenants are found by hopping
-- along the index; one that is paused costs a hop, however much it has waiting. Only the lane's lease-holder
-- takes; where two overlap for a moment, the DELETE's row locks give each row to one of them.
WITH RECURSIVE tenant (tenant_id) AS (
    (SELECT tenant_id FROM outbox WHERE lane = %(lane)s AND ready ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.tenant_id FROM outbox o
             WHERE o.lane = %(lane)s AND o.ready AND o.tenant_id > t.tenant_id ORDER BY o.tenant_id LIMIT 1)
      FROM tenant t WHERE t.tenant_id IS NOT NULL
), chosen AS MATERIALIZED (
    SELECT first.exception_id, first.sequence
      FROM tenant t
     CROSS JOIN LATERAL (
           SELECT o.exception_id, o.sequence, row_number() OVER (ORDER BY o.number) AS place
             FROM outbox o WHERE o.lane = %(lane)s AND o.ready AND o.tenant_id = t.tenant_id
            ORDER BY o.number LIMIT %(size)s) AS first
     WHERE t.tenant_id IS NOT NULL AND t.tenant_id <> ALL(%(paused)s::text[])
     ORDER BY first.place, t.tenant_id
     LIMIT %(size)s
)
DELETE FROM outbox o USING chosen c
 WHERE o.exception_id = c.exception_id AND o.sequence = c.sequence AND o.ready
RETURNING o.tenant_id, o.exception_id, o.sequence, o.stage, o.attempt, o.rate_limited
"""

_STAGES_ASIDE = """ AND o.stage <> ALL(%(stages)s::smallint[])
               AND o.tenant_id || ':' || o.stage <> ALL(%(stages_of_tenants)s::text[])
            ORDER BY o.number"""

TAKE_OTHER_STAGES = TAKE.replace("\n            ORDER BY o.number", _STAGES_ASIDE)
"""As TAKE, while stages are paused: their rows stay. It walks over them, so it is only used then."""

TAKE_LATER_STAGES = TAKE_OTHER_STAGES.replace("WHERE o.lane", "WHERE o.stage > 0 AND o.lane")
"""As TAKE_OTHER_STAGES, while the first stage is paused: outbox_later_stages has the few rows that are beyond it."""

ENSURE_PARTITIONS = """
SELECT ensure_event_partitions((%(now)s AT TIME ZONE 'UTC')::date, %(months)s)
"""
