"""Which sessions a worker process has, so that its death is known; what it waits for beside its deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

APPLICATION, SYSTEM = "sentinai_app", "sentinai_system"


def upgrade() -> None:
    """Add the name of the sessions to the journal, and a row for each process's landing. Neither is logged."""
    op.add_column("deliveries", sa.Column("session", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.create_table(
        "landings",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("exceptions", ARRAY(sa.Uuid()), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("session"),
        prefixes=["UNLOGGED"],
    )
    op.execute("ALTER TABLE landings SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.5)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON landings TO {APPLICATION}")
    op.execute(f"GRANT SELECT, DELETE ON landings TO {SYSTEM}")
    # The reconciler ends the leases of processes that are dead.
    op.execute(f"GRANT UPDATE (lease_until) ON tool_executions TO {SYSTEM}")


def downgrade() -> None:
    """Forget both."""
    op.execute(f"REVOKE UPDATE (lease_until) ON tool_executions FROM {SYSTEM}")
    op.drop_table("landings")
    op.drop_column("deliveries", "session")
