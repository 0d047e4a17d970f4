"""The schema, as SQLAlchemy tables: what `alembic check` compares the migrations with.

Row-level security, roles and the events' partitions are not part of this metadata; the migrations make
them. The hot path does not use these tables but the statements in `service.persistence.statements`.
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    Float,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

metadata = MetaData()

NOW = text("now()")
TIME = DateTime(timezone=True)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in DDL."""
        return "xid8"


tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    CheckConstraint("tenant_id ~ '^[A-Za-z0-9_-]{1,64}$'", name="tenants_id_is_plain"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("revoked_at", TIME),
    CheckConstraint("role IN ('ingest', 'operator', 'admin')", name="api_keys_role_is_known"),
)

packs = Table(
    "packs",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_hash", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("created_by", Text, nullable=False),
    Column("comment", Text),
    PrimaryKeyConstraint("tenant_id", "kind", "name", "version"),
    UniqueConstraint("tenant_id", "kind", "name", "content_hash", name="packs_content_once"),
    CheckConstraint("kind IN ('domain', 'tenant')", name="packs_kind_is_known"),
)

pack_activations = Table(
    "pack_activations",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # Of a tenant pack: the domain that this version names.
    Column("domain_name", Text),
    Column("effective_at", TIME, nullable=False),
    # In force for everything not decided yet, not only for what is received from its instant on.
    Column("immediate", Boolean, nullable=False),
    Column("withdraws", Integer),
    Column("recorded_at", TIME, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("comment", Text),
    # Why it was activated although its tests fail.
    Column("forced", Text),
    CheckConstraint("action IN ('activate', 'rollback', 'withdraw')", name="pack_activations_action_is_known"),
    CheckConstraint("kind IN ('domain', 'tenant')", name="pack_activations_kind_is_known"),
    ForeignKeyConstraint(
        ["tenant_id", "kind", "name", "version"],
        ["packs.tenant_id", "packs.kind", "packs.name", "packs.version"],
        name="pack_activations_of_a_version",
    ),
    PrimaryKeyConstraint("tenant_id", "kind", "name", "number"),
)

pack_reports = Table(
    "pack_reports",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("report", Text, nullable=False),
    Column("made_at", TIME, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    CheckConstraint("report IN ('test', 'backtest')", name="pack_reports_report_is_known"),
    PrimaryKeyConstraint("tenant_id", "kind", "name", "version", "report"),
)

exceptions = Table(
    "exceptions",
    metadata,
    Column("exception_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("resting_status", Text),
    Column("sequence", Integer, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default=text("0")),
    # How many of these attempts somebody's rate limit failed: they are counted apart.
    Column("rate_limited", SmallInteger, nullable=False, server_default=text("0")),
    Column("retry_at", TIME),
    Column("hold_reason", Text),
    Column("held_since", TIME),
    # The current input was dead-lettered and sent again, and is decided with these packs; null: it was not.
    Column("redriven_with", Text),
    Column("lane", SmallInteger, nullable=False),
    Column("source_system", Text, nullable=False),
    Column("external_id", Text),
    Column("exception_type", Text),
    Column("reported_severity", Text),
    Column("severity", Text),
    Column("confidence", REAL, nullable=False, server_default=text("1")),
    Column("entity", Text),
    Column("assigned_to", Text),
    # Sealed, as service.persistence.sealing describes: the only place of the payload as it came.
    Column("sealed_payload", LargeBinary, nullable=False),
    Column("redacted_payload", JSONB),
    Column("domain_version", Integer),
    Column("tenant_version", Integer),
    Column("trace_id", Uuid, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    Column("received_at", TIME, nullable=False),
    Column("updated_at", TIME, nullable=False),
    Column("deadline_at", TIME),
    CheckConstraint("redriven_with IN ('recorded', 'active')", name="exceptions_redriven_with_is_known"),
    # Updates of a row stay on its page and touch no index but the status one.
    postgresql_with={"fillfactor": "70"},
)
Index("exceptions_by_tenant", exceptions.c.tenant_id, exceptions.c.exception_id)
Index("exceptions_by_status", exceptions.c.tenant_id, exceptions.c.status, exceptions.c.exception_id)
Index("exceptions_with_later_inputs", exceptions.c.exception_id, postgresql_where=text("last_sequence > sequence"))

inputs = Table(
    "inputs",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    # What people and sources sent, sealed; `data` is then empty. Inputs that the system makes have it open.
    Column("sealed_data", LargeBinary),
    Column("actor", Text),
    Column("received_at", TIME, nullable=False),
    PrimaryKeyConstraint("exception_id", "sequence"),
)

events = Table(
    "events",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default=text("1")),
    Column("type", Text, nullable=False),
    Column("trace_id", Uuid, nullable=False),
    Column("domain_version", Integer),
    Column("tenant_version", Integer),
    Column("data", JSONB, nullable=False),
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    PrimaryKeyConstraint("exception_id", "position", "occurred_at"),
    postgresql_partition_by="RANGE (occurred_at)",
)
Index("events_by_transaction", events.c.xid)
Index("events_first_of_exception", events.c.tenant_id, postgresql_where=text("position = 1"))
Index("events_of_dead_letters", events.c.xid, postgresql_where=text("type = 'DeadLettered'"))

outbox = Table(
    "outbox",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False, server_default=text("0")),
    Column("rate_limited", SmallInteger, nullable=False, server_default=text("0")),
    Column("ready", Boolean, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    # Before this time a held row is not ready.
    Column("due_at", TIME),
    # Held until this pause is over.
    Column("pause_id", Uuid),
    PrimaryKeyConstraint("exception_id", "sequence"),
)
Index("outbox_paused", outbox.c.pause_id, postgresql_where=outbox.c.pause_id.is_not(None))
Index("outbox_due", outbox.c.due_at, postgresql_where=outbox.c.due_at.is_not(None))
Index("outbox_ready", outbox.c.lane, outbox.c.tenant_id, outbox.c.number, postgresql_where=outbox.c.ready)
Index(
    "outbox_later_stages",
    outbox.c.lane,
    outbox.c.tenant_id,
    outbox.c.number,
    postgresql_where=text("ready AND stage > 0"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("slot", Uuid, primary_key=True),
    Column("delivery", Text),
    Column("retries", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("exceptions", Integer, nullable=False),
    Column("worker", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("began_at", TIME, nullable=False),
    # What the process's connections are called in pg_stat_activity.
    Column("session", Text, nullable=False, server_default=text("''")),
    prefixes=["UNLOGGED"],
)
"""What each worker thread works: `service.persistence.deliveries`."""

landings = Table(
    "landings",
    metadata,
    Column("session", Text, primary_key=True),
    Column("exceptions", ARRAY(Uuid), nullable=False),
    Column("written_at", TIME, nullable=False),
    prefixes=["UNLOGGED"],
)
"""What each worker process waits for beside its deliveries."""

lanes = Table(
    "lanes",
    metadata,
    Column("lane", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", Text),
    Column("leased_until", TIME),
)

dispatchers = Table(
    "dispatchers",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("seen_until", TIME, nullable=False),
)

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

tool_executions = Table(
    "tool_executions",
    metadata,
    Column("idempotency_key", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("plan_id", Uuid, nullable=False),
    Column("step", Text, nullable=False),
    Column("tool", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("lease_until", TIME),
    Column("requested_at", TIME, nullable=False),
    Column("finished_at", TIME),
    Column("output", JSONB),
    Column("error", Text),
    # When the last attempt went out; requested_at is when the first one did.
    Column("sent_at", TIME),
    CheckConstraint(
        "state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')", name="tool_executions_state_is_known"
    ),
    postgresql_with={"fillfactor": "70"},
)
Index("tool_executions_by_exception", tool_executions.c.exception_id)

tool_results = Table(
    "tool_results",
    metadata,
    Column("result_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("created_at", TIME, nullable=False),
)
Index("tool_results_by_exception", tool_results.c.exception_id)

approvals = Table(
    "approvals",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", TIME, nullable=False),
    Column("decided_at", TIME),
    Column("decided_by", Text),
    Column("comment", Text),
    Column("plan_hash", Text),
    Column("approvals_needed", SmallInteger, nullable=False, server_default=text("1")),
    Column("due_at", TIME),
    PrimaryKeyConstraint("exception_id", "sequence"),
    CheckConstraint(
        "state IN ('pending', 'approved', 'rejected', 'superseded', 'voided', 'expired')",
        name="approvals_state_is_known",
    ),
)

approvals_given = Table(
    "approvals_given",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("given_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("given_at", TIME, nullable=False),
    PrimaryKeyConstraint("exception_id", "sequence", "key_id"),
)

timers = Table(
    "timers",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("plan_id", Uuid),
    Column("due_at", TIME, nullable=False),
    PrimaryKeyConstraint("exception_id", "kind", "step"),
    CheckConstraint("kind IN ('wait', 'step_timeout', 'approval')", name="timers_kind_is_known"),
)
Index("timers_due", timers.c.due_at)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("dead_letter_id", Uuid, primary_key=True),
    # One an input: failing again after a redrive, it is the same row.
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    # Of its newest DeadLettered event.
    Column("position", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("error_class", Text, nullable=False),
    Column("error_kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("tool", Text),
    Column("attempts", SmallInteger, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("first_dead_lettered_at", TIME, nullable=False),
    Column("dead_lettered_at", TIME, nullable=False),
    Column("redrives", Integer, nullable=False, server_default=text("0")),
    # As they were when it failed, so that lists and clusters read one table.
    Column("exception_type", Text),
    Column("source_system", Text, nullable=False),
    Column("domain_version", Integer),
    Column("tenant_version", Integer),
    Column("evidence", JSONB),
    Column("settled_at", TIME),
    UniqueConstraint("exception_id", "sequence", name="dead_letters_one_an_input"),
    CheckConstraint(
        "error_kind IN ('transient', 'rate_limited', 'permanent', 'poison')", name="dead_letters_kind_is_known"
    ),
    CheckConstraint("state IN ('pending', 'redriving', 'succeeded', 'discarded')", name="dead_letters_state_is_known"),
)
Index(
    "dead_letters_by_tenant",
    dead_letters.c.tenant_id,
    dead_letters.c.state,
    dead_letters.c.dead_lettered_at,
    dead_letters.c.dead_letter_id,
)
Index(
    "dead_letters_by_signature",
    dead_letters.c.signature,
    dead_letters.c.tenant_id,
    dead_letters.c.state,
    dead_letters.c.dead_lettered_at,
)
Index("dead_letters_redriving", dead_letters.c.tenant_id, postgresql_where=text("state = 'redriving'"))

redrives = Table(
    "redrives",
    metadata,
    Column("operation_id", Uuid, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("state", Text, nullable=False),
    # Why it is in that state: which of the canary failed, who stopped it.
    Column("state_reason", Text),
    # The canary is still to be sent or to succeed, also while stopped.
    Column("in_canary", Boolean, nullable=False),
    # Some dispatcher has something to do about it.
    Column("watched", Boolean, nullable=False),
    Column("filter", JSONB, nullable=False),
    Column("from_stage", SmallInteger),
    Column("packs", Text, nullable=False),
    Column("canary", Integer, nullable=False),
    Column("canary_timeout_seconds", Integer, nullable=False),
    Column("rate_per_second", Double),
    # How many may leave, as of when: service.domain.operations fills it with time.
    Column("tokens", Double, nullable=False),
    Column("tokens_at", TIME, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # Who did what when and why: started, stopped, resumed.
    Column("history", JSONB, nullable=False),
    Column("idempotency_key", Text),
    Column("request_hash", LargeBinary, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("started_at", TIME),
    Column("last_sent_at", TIME),
    Column("finished_at", TIME),
    CheckConstraint("action IN ('redrive', 'discard')", name="redrives_action_is_known"),
    CheckConstraint("packs IN ('recorded', 'active')", name="redrives_packs_are_known"),
    CheckConstraint(
        "state IN ('canary', 'running', 'stopped', 'canary_failed', 'finished')", name="redrives_state_is_known"
    ),
    UniqueConstraint("tenant_id", "idempotency_key", name="redrives_key_once"),
)
Index("redrives_by_tenant", redrives.c.tenant_id, redrives.c.operation_id)
Index("redrives_watched", redrives.c.operation_id, postgresql_where=text("watched"))

redrive_items = Table(
    "redrive_items",
    metadata,
    Column("operation_id", Uuid, nullable=False),
    Column("place", Integer, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("dead_letter_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),
    # Which redrive of its dead letter it was.
    Column("number", Integer),
    # Where the exception came to rest, why it failed again, or why it was left out.
    Column("outcome", Text),
    Column("sent_at", TIME),
    Column("settled_at", TIME),
    PrimaryKeyConstraint("operation_id", "place"),
    CheckConstraint(
        "state IN ('pending', 'sent', 'succeeded', 'failed', 'skipped')", name="redrive_items_state_is_known"
    ),
    postgresql_with={"fillfactor": "70"},
)
Index("redrive_items_by_state", redrive_items.c.operation_id, redrive_items.c.state, redrive_items.c.place)

notifications = Table(
    "notifications",
    metadata,
    Column("exception_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("policy", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("params", JSONB, nullable=False),
    Column("domain_version", Integer, nullable=False),
    Column("tenant_version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("claim", Integer, nullable=False, server_default=text("0")),
    Column("attempts", SmallInteger, nullable=False, server_default=text("0")),
    Column("due_at", TIME),
    Column("error", Text),
    Column("created_at", TIME, nullable=False),
    Column("sent_at", TIME),
    Column("finished_at", TIME),
    PrimaryKeyConstraint("exception_id", "position", "policy"),
    CheckConstraint(
        "state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')", name="notifications_state_is_known"
    ),
)
Index("notifications_due", notifications.c.due_at, postgresql_where=text("due_at IS NOT NULL"))
Index(
    "notifications_forgotten",
    notifications.c.created_at,
    postgresql_where=text("due_at IS NULL AND state IN ('intent', 'sent')"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("exception_id", Uuid, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("created_at", TIME, nullable=False),
    PrimaryKeyConstraint("tenant_id", "key"),
)

relay_cursors = Table(
    "relay_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    # A pg_snapshot: what it saw is published, what it did not see is not.
    Column("snapshot", Text, nullable=False),
    Column("updated_at", TIME, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    Column("pause_id", Uuid, primary_key=True),
    Column("scope", Text, nullable=False),
    # None: for every tenant. Only the platform can do that.
    Column("tenant_id", Text),
    Column("tool", Text),
    Column("stage", SmallInteger),
    Column("reason", Text, nullable=False),
    Column("until", TIME),
    Column("by_platform", Boolean, nullable=False),
    Column("paused_at", TIME, nullable=False),
    Column("paused_by", Text, nullable=False),
    Column("resumed_at", TIME),
    Column("resumed_by", Text),
    Column("resume_reason", Text),
    CheckConstraint(
        "CASE scope WHEN 'tenant' THEN tenant_id IS NOT NULL AND tool IS NULL AND stage IS NULL "
        "WHEN 'tool' THEN tool IS NOT NULL AND stage IS NULL "
        "WHEN 'stage' THEN stage IS NOT NULL AND tool IS NULL "
        "WHEN 'dispatch' THEN tenant_id IS NULL AND tool IS NULL AND stage IS NULL ELSE false END",
        name="pauses_scope_fits",
    ),
)
Index("pauses_in_force", pauses.c.pause_id, postgresql_where=text("resumed_at IS NULL"))
Index("pauses_by_tenant", pauses.c.tenant_id, pauses.c.pause_id)

chores = Table(
    "chores",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("due_at", TIME, nullable=False),
    Column("ran_at", TIME),
    Column("seconds", Float),
)

reconciler_kinds = Table(
    "reconciler_kinds",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("actions", BigInteger, nullable=False, server_default=text("0")),
    Column("acted_at", TIME),
    # Of what only a person can mend: how much there was at the last look.
    Column("found", Integer, nullable=False, server_default=text("0")),
    Column("looked_at", TIME),
)

suspects = Table(
    "suspects",
    metadata,
    Column("exception_id", Uuid, primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    # The updated_at that it had: the suspicion is about a row that has not moved since.
    Column("moved_at", TIME, nullable=False),
    Column("since", TIME, nullable=False),
    Column("repeats", Integer, nullable=False, server_default=text("0")),
    Column("repeated_at", TIME),
    prefixes=["UNLOGGED"],
)

dead_letter_audits = Table(
    "dead_letter_audits",
    metadata,
    # The relay's cursor whose records are compared.
    Column("name", Text, primary_key=True),
    # A pg_snapshot: the events that it saw have been compared.
    Column("snapshot", Text, nullable=False),
    # By partition: the first record that has not been.
    Column("offsets", JSONB, nullable=False),
    Column("audited_at", TIME, nullable=False),
    Column("report", JSONB, nullable=False),
)

TENANT_TABLES = (
    tenants,
    api_keys,
    packs,
    pack_activations,
    pack_reports,
    exceptions,
    inputs,
    events,
    outbox,
    plans,
    plan_steps,
    tool_executions,
    tool_results,
    approvals,
    approvals_given,
    timers,
    dead_letters,
    redrives,
    redrive_items,
    notifications,
    pauses,
    idempotency_keys,
)
"""Tables with a tenant_id: row-level security is forced on each."""
