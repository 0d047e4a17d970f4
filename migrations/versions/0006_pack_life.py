"""Packs have drafts, an instant of activation, and a history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"
DECLARED = (
    """tenant_id COLLATE "C" = ANY ((SELECT string_to_array(current_setting('app.tenants', true), ','))::text[])"""
)

GRANTS = {
    # Append-only: who activated what, when and why is what happened.
    "pack_activations": "SELECT, INSERT",
    "pack_reports": "SELECT, INSERT, UPDATE",
}


def upgrade() -> None:
    """What was active becomes the first entry of each pack's history; documents can no longer be changed."""
    _create_tables()
    for table, granted in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY declared_tenants ON {table} TO {APPLICATION} USING ({DECLARED})")
        op.execute(f"CREATE POLICY all_tenants ON {table} TO {SYSTEM} USING (true)")
        op.execute(f"GRANT {granted} ON {table} TO {APPLICATION}, {SYSTEM}")
    # The owner is bound by forced row-level security as well, so it is lifted for the length of this transaction.
    op.execute("ALTER TABLE packs NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE pack_activations NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """INSERT INTO pack_activations (tenant_id, kind, name, number, action, version, domain_name, effective_at,
                                         immediate, recorded_at, recorded_by)
           SELECT tenant_id, kind, name, 1, 'activate', version,
                  CASE WHEN kind = 'tenant' THEN document->>'domainName' END, COALESCE(activated_at, created_at), true,
                  COALESCE(activated_at, created_at), created_by
             FROM packs WHERE active"""
    )
    op.execute("ALTER TABLE packs FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE pack_activations FORCE ROW LEVEL SECURITY")
    op.drop_index("packs_one_active", table_name="packs")
    op.drop_column("packs", "activated_at")
    op.drop_column("packs", "active")
    op.add_column("packs", sa.Column("comment", sa.Text(), nullable=True))
    op.execute(f"REVOKE UPDATE ON packs FROM {APPLICATION}, {SYSTEM}")


def downgrade() -> None:
    """The version in force becomes the active one; the history is lost."""
    op.execute(f"GRANT UPDATE ON packs TO {APPLICATION}, {SYSTEM}")
    op.drop_column("packs", "comment")
    op.add_column("packs", sa.Column("active", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("packs", sa.Column("activated_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("ALTER TABLE packs NO FORCE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE pack_activations NO FORCE ROW LEVEL SECURITY")
    op.execute(
        """UPDATE packs p SET active = true, activated_at = a.effective_at
             FROM (SELECT DISTINCT ON (tenant_id, kind, name) * FROM pack_activations a
                    WHERE action <> 'withdraw' AND effective_at <= now()
                      AND NOT EXISTS (SELECT FROM pack_activations w
                                       WHERE (w.tenant_id, w.kind, w.name) = (a.tenant_id, a.kind, a.name)
                                         AND w.withdraws = a.number)
                    ORDER BY tenant_id, kind, name, effective_at DESC, number DESC) a
            WHERE (p.tenant_id, p.kind, p.name, p.version) = (a.tenant_id, a.kind, a.name, a.version)"""
    )
    op.execute("ALTER TABLE packs FORCE ROW LEVEL SECURITY")
    op.create_index(
        "packs_one_active", "packs", ["tenant_id", "kind", "name"], unique=True, postgresql_where=sa.text("active")
    )
    op.drop_table("pack_reports")
    op.drop_table("pack_activations")


def _create_tables() -> None:
    op.create_table(
        "pack_activations",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("domain_name", sa.Text(), nullable=True),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("immediate", sa.Boolean(), nullable=False),
        sa.Column("withdraws", sa.Integer(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("forced", sa.Text(), nullable=True),
        sa.CheckConstraint("action IN ('activate', 'rollback', 'withdraw')", name="pack_activations_action_is_known"),
        sa.CheckConstraint("kind IN ('domain', 'tenant')", name="pack_activations_kind_is_known"),
        sa.ForeignKeyConstraint(
            ["tenant_id", "kind", "name", "version"],
            ["packs.tenant_id", "packs.kind", "packs.name", "packs.version"],
            name="pack_activations_of_a_version",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "name", "number"),
    )
    op.create_table(
        "pack_reports",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.CheckConstraint("report IN ('test', 'backtest')", name="pack_reports_report_is_known"),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "name", "version", "report"),
    )
