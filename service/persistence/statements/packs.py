"""Statements on packs: versions of documents that never change, and the history of which was activated when."""

from __future__ import annotations

LOCK_NAME = """
-- Two versions of one pack are numbered one after the other, and so are its activations; packs of other names
-- don't wait.
SELECT pg_advisory_xact_lock(hashtextextended(%(tenant)s || '/' || %(kind)s || '/' || %(name)s, 0))
"""

FIND_CONTENT = """
SELECT version FROM packs
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND content_hash = %(hash)s
"""

PUT = """
INSERT INTO packs (tenant_id, kind, name, version, content_hash, document, created_by, comment)
SELECT %(tenant)s, %(kind)s, %(name)s, COALESCE(max(version), 0) + 1, %(hash)s, %(document)s::jsonb, %(by)s, %(comment)s
  FROM packs WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s
RETURNING version
"""

LIST = """
SELECT tenant_id, kind, name, version, content_hash, created_at, created_by, comment
  FROM packs
 WHERE (%(tenant)s::text IS NULL OR tenant_id = %(tenant)s)
   AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(name)s::text IS NULL OR name = %(name)s)
 ORDER BY tenant_id, kind, name, version
"""

GET = """
SELECT document, content_hash, created_at, created_by, comment FROM packs
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND version = %(version)s
"""

NEWEST = """
SELECT max(version) AS version FROM packs WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s
"""

DOMAIN_NAMED = """COALESCE({tenant}.document->>'domainName', {tenant}.document->>'domain_name')"""

RECORD = """
-- Under LOCK_NAME, so numbers have no gaps and follow the order of the commits. What is activated at once takes effect
-- now that the lock is had, not when it was asked for: a scheduled instant may have come while it waited.
INSERT INTO pack_activations (tenant_id, kind, name, number, action, version, domain_name, effective_at, immediate,
                              withdraws, recorded_at, recorded_by, comment, forced)
SELECT p.tenant_id, p.kind, p.name,
       1 + COALESCE((SELECT max(number) FROM pack_activations a
                      WHERE (a.tenant_id, a.kind, a.name) = (p.tenant_id, p.kind, p.name)), 0),
       %(action)s, p.version, CASE WHEN p.kind = 'tenant' THEN {domain} END,
       CASE WHEN %(immediate)s THEN GREATEST(%(effective_at)s, clock_timestamp()) ELSE %(effective_at)s END,
       %(immediate)s, %(withdraws)s, %(now)s, %(by)s, %(comment)s, %(forced)s
  FROM packs p
 WHERE p.tenant_id = %(tenant)s AND p.kind = %(kind)s AND p.name = %(name)s AND p.version = %(version)s
RETURNING number
""".replace("{domain}", DOMAIN_NAMED.format(tenant="p"))

STANDING = """
-- What may be in force now or later: the newest immediate activation of each pack and the scheduled ones that it
-- did not overtake. Asked once for a batch at intake, and never remembered: an exception is newer than any memory.
SELECT a.tenant_id, a.kind, a.name, a.number, a.version, a.effective_at, a.immediate, a.domain_name
  FROM pack_activations a
 WHERE a.tenant_id = ANY(%(tenants)s) AND a.action <> 'withdraw'
   AND (a.effective_at, a.number) >= (
        SELECT COALESCE(max(i.effective_at), '-infinity'), COALESCE(max(i.number), 0)
          FROM (SELECT i.effective_at, i.number FROM pack_activations i
                 WHERE i.tenant_id = a.tenant_id AND i.kind = a.kind AND i.name = a.name AND i.immediate
                 ORDER BY i.number DESC LIMIT 1) i)
   AND NOT EXISTS (SELECT FROM pack_activations w
                    WHERE w.tenant_id = a.tenant_id AND w.kind = a.kind AND w.name = a.name AND w.withdraws = a.number)
"""

TENANTS = "SELECT DISTINCT tenant_id FROM packs"

HISTORY = """
SELECT a.number, a.action, a.version, a.effective_at, a.immediate, a.withdraws, a.recorded_at, a.recorded_by,
       a.comment, a.forced,
       EXISTS (SELECT FROM pack_activations w
                WHERE w.tenant_id = a.tenant_id AND w.kind = a.kind AND w.name = a.name
                  AND w.withdraws = a.number) AS withdrawn
  FROM pack_activations a
 WHERE a.tenant_id = %(tenant)s AND a.kind = %(kind)s AND a.name = %(name)s
 ORDER BY a.number
"""

DOCUMENTS = """
-- The tenant version names the domain that the domain version is of.
SELECT t.document AS tenant_document, d.document AS domain_document
  FROM packs t
  JOIN packs d ON d.tenant_id = t.tenant_id AND d.kind = 'domain' AND d.name = {domain}
 WHERE t.tenant_id = %(tenant)s AND t.kind = 'tenant' AND t.version = %(tenant_version)s
   AND d.version = %(domain_version)s
""".replace("{domain}", DOMAIN_NAMED.format(tenant="t"))

KEEP_REPORT = """
-- The last report of each kind is kept with the version it is about.
INSERT INTO pack_reports (tenant_id, kind, name, version, report, made_at, made_by, document)
VALUES (%(tenant)s, %(kind)s, %(name)s, %(version)s, %(report)s, %(now)s, %(by)s, %(document)s::jsonb)
    ON CONFLICT (tenant_id, kind, name, version, report) DO UPDATE
   SET made_at = excluded.made_at, made_by = excluded.made_by, document = excluded.document
"""

REPORT = """
SELECT made_at, made_by, document FROM pack_reports
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND version = %(version)s AND report = %(report)s
"""
