"""What callers ask and get about dead letters, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from service.api.bodies import Out
from service.api.exception_schemas import Event, PackVersions
from service.api.fields import Moment, Name
from service.api.paging import Paging, Search, Several
from service.domain.exceptions import Stage, Status
from service.domain.redriving import DeadLetterState
from service.errors import ErrorKind
from service.persistence.dead_letters import DeadLetterFilter

StageName = Literal["intake", "triage", "policy", "playbook", "tool"]
Signature = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class DeadLetterCriteria(BaseModel):
    """Which dead letters. The same for a list, the clusters, and whoever acts on many."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    state: Annotated[list[DeadLetterState], Several] = Field(
        default_factory=lambda: [DeadLetterState.PENDING], description="Default: those nobody has decided about."
    )
    stage: Annotated[list[StageName], Several] = Field(default_factory=list)
    error_class: Name | None = Field(default=None, description="Like ToolRefused.")
    error_kind: Annotated[list[ErrorKind], Several] = Field(default_factory=list)
    signature: Signature | None = Field(default=None, description="One cluster's.")
    tool: Name | None = None
    exception_type: Name | None = Field(default=None, description="As it was when it failed.")
    source_system: Name | None = None
    from_: Moment | None = Field(default=None, alias="from", description="Dead-lettered, the last time, at or after.")
    to: Moment | None = Field(default=None, description="Dead-lettered, the last time, before.")
    q: Search | None = Field(
        default=None, description="Part of the message, error class, tool, exception type, source system or an id."
    )

    def as_filter(self, ids: tuple[UUID, ...] = ()) -> DeadLetterFilter:
        """As the repository takes it; `ids`: of these only."""
        return DeadLetterFilter(
            ids=ids,
            states=tuple(self.state),
            stages=tuple(Stage[name.upper()] for name in self.stage),
            error_class=self.error_class,
            error_kinds=tuple(self.error_kind),
            signature=self.signature,
            tool=self.tool,
            exception_type=self.exception_type,
            source_system=self.source_system,
            since=self.from_,
            until=self.to,
            text=self.q,
        )


class DeadLetterParameters(DeadLetterCriteria, Paging):
    """Which dead letters to list."""


class ClusterParameters(DeadLetterCriteria, Paging):
    """Which dead letters to put together."""

    sort: Literal["-count", "-lastSeen"] = "-count"


class DeadLetterSummary(Out):
    """A dead letter as lists show it: one input of one exception that could not be worked."""

    dead_letter_id: UUID
    exception_id: UUID
    tenant_id: str
    sequence: int = Field(description="The input that failed.")
    state: DeadLetterState
    stage: str
    error_class: str
    error_kind: ErrorKind
    message: str = Field(description="What was wrong, and what to do about it.")
    tool: str | None = Field(description="The tool whose call failed; null: no call did.")
    signature: str = Field(description="What failures of one cause share: the key of their cluster.")
    attempts: int = Field(description="How often it was tried the last time it was worked.")
    redrives: int = Field(description="How often it was sent again.")
    first_dead_lettered_at: datetime
    dead_lettered_at: datetime = Field(description="The last time.")
    settled_at: datetime | None = Field(description="When it succeeded or was discarded.")
    exception_type: str | None
    source_system: str
    pack_versions: PackVersions | None
    blocking: int = Field(description="Later inputs of the exception that wait until this one is settled.")


class DeadLetterList(Out):
    """A page of dead letters, the newest first."""

    items: list[DeadLetterSummary]
    next_cursor: str | None


class Attempt(Out):
    """Something that was tried with the input."""

    position: int = Field(description="The event's place in the timeline.")
    at: datetime
    outcome: Literal["retried", "deadLettered", "redriven", "discarded"]
    stage: str
    attempt: int | None = Field(description="Which one since it was last sent; null where nothing was tried.")
    error_class: str | None
    error_kind: str | None
    message: str | None
    retry_at: datetime | None = Field(description="When the next attempt was due.")
    by: str | None = Field(description="Who sent it again or discarded it.")
    reason: str | None


class PayloadReference(Out):
    """How to read the payload as it came. Who reads it says why, and that is kept on the timeline."""

    method: Literal["POST"] = "POST"
    path: str
    role: Literal["operator"] = "operator"


class DeadLetterDetail(DeadLetterSummary):
    """A dead letter with its story."""

    pattern: str = Field(description="The message with placeholders for what is only true of this exception.")
    position: int = Field(description="Of its newest DeadLettered event in the timeline.")
    evidence: dict[str, Any] | None = Field(description="What else is known of the failure; never a payload.")
    external_id: str | None
    exception_status: Status
    history: list[Attempt] = Field(description="What was tried with this input, oldest first; the last 100.")
    last_events: list[Event] = Field(description="The exception's last 10 events, oldest first.")
    payload: PayloadReference


class StateCounts(Out):
    """Dead letters of a cluster by state."""

    pending: int
    redriving: int
    succeeded: int
    discarded: int


class ClusterExample(Out):
    """The newest dead letter of a cluster."""

    dead_letter_id: UUID
    exception_id: UUID
    message: str


class TypeCount(Out):
    """How many of a cluster's dead letters were of an exception type."""

    exception_type: str
    count: int


class Trend(Out):
    """How many failed in each of the last hours."""

    bucket_seconds: int = 3600
    counts: list[int] = Field(description="24 numbers; the last one is the hour that ends now.")


class Cluster(Out):
    """Dead letters of one cause."""

    signature: str
    count: int = Field(description="In the states that were asked for; so are the exception types and the trend.")
    by_state: StateCounts
    first_seen: datetime
    last_seen: datetime
    stage: str
    error_class: str
    error_kind: ErrorKind
    tool: str | None
    pattern: str
    example: ClusterExample
    exception_types: list[TypeCount] = Field(description="The most frequent first.")
    trend: Trend


class ClusterList(Out):
    """A page of clusters, sorted as asked."""

    items: list[Cluster]
    next_cursor: str | None
