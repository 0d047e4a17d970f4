"""Clusters are found across tenants too, and dead letters' events on their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SYSTEM = "sentinai_system"


def upgrade() -> None:
    """Index by signature first, index the DeadLettered events, and keep where the audit of the topic is."""
    op.drop_index("dead_letters_by_signature", "dead_letters")
    op.create_index(
        "dead_letters_by_signature", "dead_letters", ["signature", "tenant_id", "state", "dead_lettered_at"]
    )
    op.create_index("events_of_dead_letters", "events", ["xid"], postgresql_where=sa.text("type = 'DeadLettered'"))
    op.create_table(
        "dead_letter_audits",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("offsets", JSONB(), nullable=False),
        sa.Column("audited_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report", JSONB(), nullable=False),
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON dead_letter_audits TO {SYSTEM}")


def downgrade() -> None:
    """Take them away; the next audit after an upgrade reads the topic from its beginning."""
    op.drop_table("dead_letter_audits")
    op.drop_index("events_of_dead_letters", "events")
    op.drop_index("dead_letters_by_signature", "dead_letters")
    op.create_index(
        "dead_letters_by_signature", "dead_letters", ["tenant_id", "signature", "state", "dead_lettered_at"]
    )
