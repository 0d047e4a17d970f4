"""What each worker thread works, so that a delivery its process died of is recognised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"


def upgrade() -> None:
    """Make the journal: no tenant's data, not logged, with room for its rows to be updated in their page."""
    op.create_table(
        "deliveries",
        sa.Column("slot", sa.Uuid(), nullable=False),
        sa.Column("delivery", sa.Text()),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("exceptions", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slot"),
        prefixes=["UNLOGGED"],
    )
    op.execute("ALTER TABLE deliveries SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.5)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO {APPLICATION}")
    op.execute(f"GRANT SELECT, DELETE ON deliveries TO {SYSTEM}")


def downgrade() -> None:
    """Forget it."""
    op.drop_table("deliveries")
