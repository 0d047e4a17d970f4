"""Row-level security on every tenant table, and the two roles that applications act as."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from alembic import op

from service.settings import load_settings

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"

GRANTS = {
    # table: (what the API and workers may do, what dispatcher, relay, reconciler and administration may do)
    "tenants": ("SELECT", "SELECT, INSERT, UPDATE"),
    "api_keys": ("SELECT", "SELECT, INSERT, UPDATE"),
    "packs": ("SELECT, INSERT, UPDATE", "SELECT, INSERT, UPDATE"),
    "exceptions": ("SELECT, INSERT, UPDATE", "SELECT, UPDATE (retry_at)"),
    "inputs": ("SELECT, INSERT", "SELECT"),
    # Append-only: nobody may change or remove what happened.
    "events": ("SELECT, INSERT", "SELECT"),
    "outbox": ("SELECT, INSERT, UPDATE, DELETE", "SELECT, INSERT, UPDATE, DELETE"),
    "plans": ("SELECT, INSERT", "SELECT"),
    "plan_steps": ("SELECT, INSERT", "SELECT"),
    "tool_executions": ("SELECT, INSERT, UPDATE", "SELECT"),
    "approvals": ("SELECT, INSERT, UPDATE", "SELECT"),
    "dead_letters": ("SELECT, INSERT, UPDATE", "SELECT"),
    "idempotency_keys": ("SELECT, INSERT", "SELECT"),
}

DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)
"""The tenants a transaction declared. The sub-select is evaluated once a statement, not once a row.

The collation is another than the indexes', so that the planner cannot take this condition for a way in: without
statistics (a new database) it would walk all rows of a tenant instead of probing the primary key. Queries that want
a tenant's rows say so themselves, and use the index.
"""

OWN_KEY = "key_hash = (SELECT decode(NULLIF(current_setting('app.key_hash', true), ''), 'hex'))"
"""Before a caller's tenant is known, the hash of the key it sent shows that key's row and no other."""


def upgrade() -> None:
    """Create the roles, force row-level security, and grant each role what it needs and no more."""
    for role in (APPLICATION, SYSTEM):
        op.execute(
            f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOBYPASSRLS; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        op.execute(f"GRANT USAGE ON SCHEMA public TO {role}")
        _let_the_login_act_as(role)
    for table, (application, system) in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY declared_tenants ON {table} TO {APPLICATION} USING ({DECLARED})")
        op.execute(f"CREATE POLICY all_tenants ON {table} TO {SYSTEM} USING (true)")
        op.execute(f"GRANT {application} ON {table} TO {APPLICATION}")
        op.execute(f"GRANT {system} ON {table} TO {SYSTEM}")
    op.execute(f"CREATE POLICY own_key ON api_keys FOR SELECT TO {APPLICATION} USING ({OWN_KEY})")
    for table in ("lanes", "dispatchers", "relay_cursors"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {SYSTEM}")
    op.execute(f"GRANT SELECT ON alembic_version TO {APPLICATION}, {SYSTEM}")


def downgrade() -> None:
    """Take the policies and grants away. The roles stay: they belong to the server, not to this database."""
    for role in (APPLICATION, SYSTEM):
        op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE USAGE ON SCHEMA public FROM {role}")
    op.execute("DROP POLICY own_key ON api_keys")
    for table in GRANTS:
        op.execute(f"DROP POLICY declared_tenants ON {table}")
        op.execute(f"DROP POLICY all_tenants ON {table}")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")


def _let_the_login_act_as(role: str) -> None:
    """Make the login of DATABASE_URL a member, unless it is a superuser already able to take any role."""
    login = unquote(urlsplit(load_settings(os.environ).database_url).username or "")
    if not login:
        return
    quoted = login.replace('"', '""')
    op.execute(
        f"DO $$ BEGIN IF NOT pg_has_role('{login.replace(chr(39), chr(39) * 2)}', '{role}', 'MEMBER') "
        f'THEN GRANT {role} TO "{quoted}"; END IF; END $$'
    )
