"""Dead letters have an id, one an input, and what tells causes apart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SYSTEM = "sentinai_system"

KEEP_NEWEST = """
DELETE FROM dead_letters d USING dead_letters newer
 WHERE newer.exception_id = d.exception_id AND newer.sequence = d.sequence AND newer.position > d.position
"""

FILL = r"""
-- What was written before kinds and signatures: the kind as the error's name tells it, and numbers and quoted values
-- of the message out of the pattern. New failures have signatures of the application's own making.
UPDATE dead_letters d
   SET dead_letter_id = gen_random_uuid(),
       error_kind = CASE WHEN error_class IN ('ToolUnavailable', 'Transient', 'Early', 'SealKeyUnknown', 'NameUnknown')
                         THEN 'transient' ELSE 'permanent' END,
       first_dead_lettered_at = d.dead_lettered_at,
       pattern = left(regexp_replace(regexp_replace(message, '''[^'']*''|"[^"]*"', '<quoted>', 'g'),
                                     '(?<!answered |\d)\d+', '<number>', 'g'), 500),
       exception_type = e.exception_type, source_system = COALESCE(e.source_system, ''),
       domain_version = e.domain_version, tenant_version = e.tenant_version
  FROM (SELECT l.exception_id, l.position, x.exception_type, x.source_system, x.domain_version, x.tenant_version
          FROM dead_letters l LEFT JOIN exceptions x USING (exception_id)) e
 WHERE e.exception_id = d.exception_id AND e.position = d.position
"""

SIGN = """
UPDATE dead_letters
   SET signature = left(encode(sha256(convert_to(concat_ws(chr(31), stage, error_class, pattern), 'UTF8')), 'hex'), 16)
"""

ADDED = (
    sa.Column("dead_letter_id", sa.Uuid()),
    sa.Column("error_kind", sa.Text()),
    sa.Column("signature", sa.Text()),
    sa.Column("pattern", sa.Text()),
    sa.Column("tool", sa.Text()),
    sa.Column("first_dead_lettered_at", sa.DateTime(timezone=True)),
    sa.Column("redrives", sa.Integer(), server_default="0", nullable=False),
    sa.Column("exception_type", sa.Text()),
    sa.Column("source_system", sa.Text()),
    sa.Column("domain_version", sa.Integer()),
    sa.Column("tenant_version", sa.Integer()),
    sa.Column("evidence", JSONB()),
    sa.Column("settled_at", sa.DateTime(timezone=True)),
)
REQUIRED = ("dead_letter_id", "error_kind", "signature", "pattern", "first_dead_lettered_at", "source_system")


def upgrade() -> None:
    """Keep the newest dead letter of each input, and fill in what the others lack."""
    for column in ADDED:
        op.add_column("dead_letters", column.copy())
    _visibly(KEEP_NEWEST, FILL, SIGN)
    for name in REQUIRED:
        op.alter_column("dead_letters", name, nullable=False)
    op.drop_constraint("dead_letters_pkey", "dead_letters")
    op.create_primary_key("dead_letters_pkey", "dead_letters", ["dead_letter_id"])
    op.create_unique_constraint("dead_letters_one_an_input", "dead_letters", ["exception_id", "sequence"])
    op.create_check_constraint(
        "dead_letters_kind_is_known",
        "dead_letters",
        "error_kind IN ('transient', 'rate_limited', 'permanent', 'poison')",
    )
    op.drop_index("dead_letters_by_tenant", "dead_letters")
    op.create_index(
        "dead_letters_by_tenant", "dead_letters", ["tenant_id", "state", "dead_lettered_at", "dead_letter_id"]
    )
    op.create_index(
        "dead_letters_by_signature", "dead_letters", ["tenant_id", "signature", "state", "dead_lettered_at"]
    )
    # A dead letter is redriven and settled in the background, whoever's it is.
    op.execute(f"GRANT UPDATE ON dead_letters TO {SYSTEM}")


def downgrade() -> None:
    """Take the columns away again; the rows stay."""
    op.execute(f"REVOKE UPDATE ON dead_letters FROM {SYSTEM}")
    op.drop_index("dead_letters_by_signature", "dead_letters")
    op.drop_index("dead_letters_by_tenant", "dead_letters")
    op.create_index("dead_letters_by_tenant", "dead_letters", ["tenant_id", "state", "dead_lettered_at"])
    op.drop_constraint("dead_letters_kind_is_known", "dead_letters")
    op.drop_constraint("dead_letters_one_an_input", "dead_letters")
    op.drop_constraint("dead_letters_pkey", "dead_letters")
    op.create_primary_key("dead_letters_pkey", "dead_letters", ["exception_id", "position"])
    for column in reversed(ADDED):
        op.drop_column("dead_letters", column.name)


def _visibly(*statements: str) -> None:
    """Run statements on rows of every tenant: the owner is under row-level security, too."""
    for table in ("dead_letters", "exceptions"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    for statement in statements:
        op.execute(statement)
    for table in ("dead_letters", "exceptions"):
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
