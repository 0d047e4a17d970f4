"""What callers ask and get where dead letters are sent again or discarded, as pydantic models."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from service.api.bodies import In, Out
from service.api.dead_letter_schemas import DeadLetterCriteria, StageName
from service.domain.exceptions import PackChoice, Stage, Status
from service.domain.operations import Action, OperationState
from service.domain.redriving import DeadLetterState, Wish
from service.persistence.dead_letters import DeadLetterFilter

MOST_AT_ONCE = 100_000
"""The most dead letters of one operation."""
MOST_IDS = 1_000
LONGEST_CANARY_SECONDS = 7 * 86_400
DEFAULT_CANARY_SECONDS = 300
FASTEST = 10_000.0

Reason = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=r"\S")]


def _listed(value: object) -> object:
    """One value is a list of one."""
    return [value] if isinstance(value, str) else value


_OneOrMore = BeforeValidator(_listed)


class Decided(In):
    """Why something is done."""

    reason: Reason = Field(description="Kept as it is written, on the timeline or in the operation's history.")


class RedriveWish(Decided):
    """How dead letters are sent again."""

    from_stage: StageName | None = Field(
        default=None, description="Where to go on: where it failed (the default), or earlier. Never later."
    )
    packs: PackChoice = Field(
        default=PackChoice.RECORDED,
        description="`recorded`: the versions it was decided with. `active`: decided anew, from intake on, with those "
        "in force.",
    )

    def wish(self) -> Wish:
        """As the engine takes it."""
        return Wish(None if self.from_stage is None else Stage[self.from_stage.upper()], self.packs)


class BulkFilter(In):
    """Which of the pending dead letters. All that is given has to hold; nothing at all has to be said with `all`."""

    all: bool = Field(default=False, description="Every pending dead letter of the tenant.")
    ids: list[UUID] = Field(default_factory=list, max_length=MOST_IDS)
    stage: Annotated[list[StageName], _OneOrMore] = Field(default_factory=list)
    error_class: str | None = Field(default=None, min_length=1, max_length=200)
    error_kind: Annotated[list[str], _OneOrMore] = Field(default_factory=list)
    signature: str | None = Field(default=None, max_length=16, description="One cluster's.")
    tool: str | None = Field(default=None, min_length=1, max_length=200)
    exception_type: str | None = Field(default=None, min_length=1, max_length=200)
    source_system: str | None = Field(default=None, min_length=1, max_length=200)
    from_: datetime | None = Field(default=None, alias="from", description="Dead-lettered, the last time, at or after.")
    to: datetime | None = Field(default=None, description="Dead-lettered, the last time, before.")
    q: str | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _says_which(self) -> BulkFilter:
        narrowed = any(value not in (None, []) for name, value in self if name != "all")
        if narrowed == self.all:
            raise PydanticCustomError("filter", "must say which dead letters, or else `all`: true")
        return self

    def criteria(self) -> dict[str, Any]:
        """The part that lists of dead letters have, too."""
        return self.model_dump(mode="json", by_alias=True, exclude={"all", "ids"}, exclude_none=True)

    def as_filter(self) -> DeadLetterFilter:
        """As the repository takes it. Raises ValidationError for what a list of dead letters would refuse."""
        return DeadLetterCriteria.model_validate(self.criteria()).as_filter(tuple(self.ids))


class _Bulk(In):
    """What every operation on many is asked for with."""

    filter: BulkFilter
    limit: int = Field(default=MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE, description="At most so many, the oldest first.")
    dry_run: bool = Field(default=False, description="Only tell what would be done.")
    rate_per_second: float | None = Field(
        default=None, gt=0, le=FASTEST, description="At most so many a second; null: as fast as it goes."
    )


class BulkRedrive(_Bulk, RedriveWish):
    """Send many again."""

    canary: int = Field(
        default=0, ge=0, le=10_000, description="So many first; the rest only when all of them succeeded. 0: none."
    )
    canary_timeout_seconds: int = Field(
        default=DEFAULT_CANARY_SECONDS,
        ge=1,
        le=LONGEST_CANARY_SECONDS,
        description="A canary that is not finished so long after its last one was sent has failed.",
    )


class BulkDiscard(_Bulk, Decided):
    """Discard many."""


class Redriven(Out):
    """A dead letter that is being worked again."""

    dead_letter_id: UUID
    exception_id: UUID
    sequence: int
    state: DeadLetterState
    status: Status = Field(description="Of its exception.")
    redrives: int = Field(description="How often it has been sent again by now.")
    changed: bool = Field(description="This call did it; false: it was so already.")


class Discarded(Out):
    """A dead letter whose input will not be worked."""

    dead_letter_id: UUID
    exception_id: UUID
    sequence: int
    state: DeadLetterState
    status: Status = Field(description="Of its exception: an input that waited behind it takes its turn.")
    changed: bool = Field(description="This call did it; false: it was so already.")


class Planned(Out):
    """What would be done about one dead letter."""

    dead_letter_id: UUID
    exception_id: UUID
    failed_at: str
    message: str
    from_stage: str | None = Field(description="Of a redrive: where it would go on; null: it would be left out.")
    packs: PackChoice | None
    rests: Status | None = Field(description="Of a discard: where its exception would rest.")
    left_out: str | None = Field(description="Why nothing would be done about it.")
    unknown_effects: int = Field(description="Calls that wait for a person to say what became of them.")


class PlannedCluster(Out):
    """How many of one cause."""

    signature: str
    pattern: str
    count: int


class PlannedStage(Out):
    """How many that failed at a stage would go on where."""

    failed_at: str
    from_stage: str | None
    count: int


class LeftOut(Out):
    """How many would be, or were, left out for one reason."""

    reason: str
    count: int


class DryRun(Out):
    """What an operation would do. Nothing was changed."""

    action: Action
    matched: int = Field(description="How many the filter chooses, up to the limit.")
    would_act: int
    by_cluster: list[PlannedCluster]
    by_stage: list[PlannedStage]
    by_rest: dict[str, int] = Field(description="Of a discard: how many exceptions would rest in which status.")
    left_out: list[LeftOut]
    waiting_for_a_person: int = Field(
        description="How many have calls in doubt: these are not made again, a person says what became of them."
    )
    examples: list[Planned] = Field(description="The first 10, the oldest first.")


class Progress(Out):
    """How far an operation is."""

    total: int
    pending: int
    sent: int = Field(description="Being worked at this moment.")
    succeeded: int = Field(description="Their input is finished, wherever the exception rests.")
    failed_again: int
    skipped: int
    sent_per_second: float = Field(description="Over the last 10 seconds.")
    seconds_left: float | None = Field(description="About how long until the last one is sent; null: nobody can tell.")


class HistoryEntry(Out):
    """Something that was done about an operation."""

    at: datetime
    by: str
    action: str
    reason: str | None = None


class OutcomeCount(Out):
    """How many came to the same end."""

    state: Literal["succeeded", "failed", "skipped"]
    outcome: str = Field(description="Where they rest, why they failed again, or why they were left out.")
    count: int


class ItemExample(Out):
    """A dead letter of an operation."""

    dead_letter_id: UUID
    exception_id: UUID
    outcome: str | None


class Operation(Out):
    """An operation on many dead letters, worked in the background."""

    operation_id: UUID
    action: Action
    state: OperationState
    state_reason: str | None
    filter: dict[str, Any]
    from_stage: str | None
    packs: PackChoice
    canary: int
    canary_timeout_seconds: int
    rate_per_second: float | None
    requested_by: str
    reason: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress


class OperationDetail(Operation):
    """An operation with what came of it."""

    history: list[HistoryEntry] = Field(description="Who did what when and why, oldest first.")
    outcomes: list[OutcomeCount] = Field(description="The most frequent first; at most 50.")
    failed: list[ItemExample] = Field(description="The first 10 that failed again.")
    skipped: list[ItemExample] = Field(description="The first 10 that were left out.")


class OperationList(Out):
    """A page of operations, the newest first."""

    items: list[Operation]
    next_cursor: str | None
