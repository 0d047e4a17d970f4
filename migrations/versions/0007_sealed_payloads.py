"""The unredacted payload is one encrypted column, and so is what people and sources say later.

What is there already is carried over unsealed (a first byte of 0 says so); `sentinai keys rotate-payload` seals it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MADE_BY_THE_SYSTEM = "('step_due', 'approval_expired')"

# An earlier downgrade keeps sealed values as {"$sealed": base64}: nobody but a key can turn them into JSON.
_STORED = """CASE WHEN jsonb_typeof({0}) = 'object' AND {0} ? '$sealed' AND {0} - '$sealed' = '{{}}'
                  THEN decode({0} ->> '$sealed', 'base64')
                  ELSE '\\x00'::bytea || convert_to({0}::text, 'UTF8') END"""
_OPEN = """CASE WHEN get_byte({0}, 0) = 0 THEN convert_from(substring({0} FROM 2), 'UTF8')::jsonb
                ELSE jsonb_build_object('$sealed', encode({0}, 'base64')) END"""


def upgrade() -> None:
    """Turn the columns into bytes. Rewrites both tables."""
    op.execute(f"ALTER TABLE exceptions ALTER COLUMN raw_payload TYPE bytea USING {_STORED.format('raw_payload')}")
    op.alter_column("exceptions", "raw_payload", new_column_name="sealed_payload")
    op.add_column("inputs", sa.Column("sealed_data", sa.LargeBinary()))
    _for_every_row(
        "inputs",
        f"UPDATE inputs SET sealed_data = {_STORED.format('data')}, data = '{{}}' "  # noqa: S608 - constants
        f"WHERE type NOT IN {_MADE_BY_THE_SYSTEM}",
    )
    # Rotation works across tenants. It needs the keys for that, which this role's other processes do not have.
    op.execute("GRANT UPDATE (sealed_payload) ON exceptions TO sentinai_system")
    op.execute("GRANT UPDATE (sealed_data) ON inputs TO sentinai_system")


def downgrade() -> None:
    """Turn them back. What is sealed stays sealed, as {"$sealed": base64}, until it is upgraded again."""
    op.execute("REVOKE UPDATE (sealed_payload) ON exceptions FROM sentinai_system")
    op.execute("REVOKE UPDATE (sealed_data) ON inputs FROM sentinai_system")
    opened = _OPEN.format("sealed_data")
    _for_every_row("inputs", f"UPDATE inputs SET data = {opened} WHERE sealed_data IS NOT NULL")  # noqa: S608 - constants
    op.drop_column("inputs", "sealed_data")
    op.alter_column("exceptions", "sealed_payload", new_column_name="raw_payload")
    op.execute(f"ALTER TABLE exceptions ALTER COLUMN raw_payload TYPE jsonb USING {_OPEN.format('raw_payload')}")


def _for_every_row(table: str, statement: str) -> None:
    """Run an update as the owner, who otherwise sees no row: row-level security is forced on him too."""
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(statement)
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
