"""Monthly partitions of the event log, made ahead by a function the application may call."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MONTHS_AHEAD = 12
"""Made by the migration, so that an installation whose beat never runs still accepts events for a year."""


def upgrade() -> None:
    """Create the function, and partitions from last month (clocks differ at a month's turn) on."""
    # SECURITY DEFINER: only the table's owner may attach partitions, and no process runs as the owner.
    op.execute(
        """
        CREATE FUNCTION ensure_event_partitions(first date, months int) RETURNS int
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
        DECLARE
            month date;
            made int := 0;
            partition text;
        BEGIN
            FOR offset_months IN 0..months LOOP
                month := date_trunc('month', first) + make_interval(months => offset_months);
                partition := 'events_' || to_char(month, 'YYYY_MM');
                IF to_regclass('public.' || partition) IS NULL THEN
                    EXECUTE format('CREATE TABLE public.%I PARTITION OF public.events FOR VALUES FROM (%L) TO (%L)',
                                   partition, month::timestamp AT TIME ZONE 'UTC',
                                   (month + interval '1 month')::timestamp AT TIME ZONE 'UTC');
                    made := made + 1;
                END IF;
            END LOOP;
            RETURN made;
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION ensure_event_partitions(date, int) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION ensure_event_partitions(date, int) TO sentinai_system")
    op.execute(f"SELECT ensure_event_partitions((now() AT TIME ZONE 'UTC' - interval '1 month')::date, {MONTHS_AHEAD})")


def downgrade() -> None:
    """Drop the function; the partitions go with their table."""
    op.execute("DROP FUNCTION ensure_event_partitions(date, int)")
