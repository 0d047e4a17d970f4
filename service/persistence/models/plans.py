"""What is to be done about an exception: plans, and what is recorded of their steps."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from service.persistence.models.base import TIME, metadata

plans = Table(
    "plans",
    metadata,
    Column("plan_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("playbook", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("domain_version", Integer, nullable=False),
    Column("tenant_version", Integer, nullable=False),
    Column("created_at", TIME, nullable=False),
    # What a person approves; only plans that somebody has to approve have one.
    Column("plan_hash", Text),
)
Index("plans_by_exception", plans.c.exception_id, plans.c.sequence)

plan_steps = Table(
    "plan_steps",
    metadata,
    Column("plan_id", Uuid, nullable=False),
    Column("step", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("completed_at", TIME),
    Column("completed_by", Text),
    Column("state", Text, nullable=False, server_default=text("'done'")),
    # What a tool answered is in tool_executions, once.
    Column("output", JSONB),
    Column("error", Text),
    Column("number", Integer, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("plan_id", "step"),
    CheckConstraint("state IN ('started', 'unknown', 'done', 'failed', 'skipped')", name="plan_steps_state_is_known"),
)
