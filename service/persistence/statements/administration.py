"""Statements on tenants and API keys. Written by administration only (role SYSTEM); the API finds its caller's key."""

from __future__ import annotations

CREATE_TENANT = """
INSERT INTO tenants (tenant_id, name) VALUES (%(tenant)s, %(name)s) ON CONFLICT DO NOTHING RETURNING created_at
"""

LIST_TENANTS = "SELECT tenant_id, name, created_at FROM tenants ORDER BY tenant_id"

TENANT_EXISTS = "SELECT 1 FROM tenants WHERE tenant_id = %(tenant)s"

CREATE_KEY = """
INSERT INTO api_keys (key_id, tenant_id, key_hash, role, name)
VALUES (%(key_id)s, %(tenant)s, %(hash)s, %(role)s, %(name)s)
RETURNING created_at
"""

LIST_KEYS = """
SELECT key_id, tenant_id, role, name, created_at, revoked_at
  FROM api_keys
 WHERE %(tenant)s::text IS NULL OR tenant_id = %(tenant)s
 ORDER BY tenant_id, created_at
"""

REVOKE_KEY = """
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, %(now)s) WHERE key_id = %(key_id)s
RETURNING key_id, tenant_id, role, name, created_at, revoked_at
"""

SHOW_OWN_KEY = "SELECT set_config('app.key_hash', %(hash)s, true)"
"""Before the caller's tenant is known: makes the policy `own_key` show the row of this hash, and no other."""

FIND_KEY = """
SELECT key_id, tenant_id, role, name FROM api_keys WHERE key_hash = %(hash)s AND revoked_at IS NULL
"""
