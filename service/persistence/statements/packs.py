"""Statements on packs: versions of documents, of which one of each name is active."""

from __future__ import annotations

LOCK_NAME = """
-- Two versions of one pack are numbered one after the other; packs of other names don't wait.
SELECT pg_advisory_xact_lock(hashtextextended(%(tenant)s || '/' || %(kind)s || '/' || %(name)s, 0))
"""

FIND_CONTENT = """
SELECT version, active FROM packs
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND content_hash = %(hash)s
"""

PUT = """
INSERT INTO packs (tenant_id, kind, name, version, content_hash, document, created_by)
SELECT %(tenant)s, %(kind)s, %(name)s, COALESCE(max(version), 0) + 1, %(hash)s, %(document)s::jsonb, %(by)s
  FROM packs WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s
RETURNING version
"""

DEACTIVATE = """
UPDATE packs SET active = false
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND active AND version <> %(version)s
"""

ACTIVATE = """
UPDATE packs SET active = true, activated_at = CASE WHEN active THEN activated_at ELSE %(now)s END
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND version = %(version)s
"""

LIST = """
SELECT tenant_id, kind, name, version, content_hash, active, created_at, created_by, activated_at
  FROM packs
 WHERE %(tenant)s::text IS NULL OR tenant_id = %(tenant)s
 ORDER BY tenant_id, kind, name, version
"""

GET = """
SELECT document FROM packs
 WHERE tenant_id = %(tenant)s AND kind = %(kind)s AND name = %(name)s AND version = %(version)s
"""

ACTIVE_VERSIONS = """
-- The tenant pack names its domain; both are the active versions.
SELECT t.tenant_id, t.version AS tenant_version, d.version AS domain_version
  FROM packs t
  JOIN packs d ON d.tenant_id = t.tenant_id AND d.kind = 'domain' AND d.name = t.document->>'domainName' AND d.active
 WHERE t.tenant_id = ANY(%(tenants)s) AND t.kind = 'tenant' AND t.active
"""

DOCUMENTS = """
-- The tenant version names the domain that the domain version is of.
SELECT t.document AS tenant_document, d.document AS domain_document
  FROM packs t
  JOIN packs d ON d.tenant_id = t.tenant_id AND d.kind = 'domain' AND d.name = t.document->>'domainName'
 WHERE t.tenant_id = %(tenant)s AND t.kind = 'tenant' AND t.version = %(tenant_version)s
   AND d.version = %(domain_version)s
"""
