"""A plan: the steps chosen for one exception, frozen when they were chosen, and what became of them.

The plan is stored and travels as JSON (`service.domain.plan_documents`), so a later version of a pack
never changes what was decided. Its hash is what a person approves.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal


class StepKind(StrEnum):
    """Who carries a step out."""

    INTERNAL = "internal"
    """The pipeline itself: set_status, assign_owner, add_comment."""
    EXTERNAL = "external"
    """A tool outside: call_tool, notify."""
    MANUAL = "manual"
    """A person."""
    WAIT = "wait"
    """Nobody: a time comes, or a signal."""
    GROUP = "group"
    """The steps inside it: branch, foreach, parallel."""


class OnFailure(StrEnum):
    """What becomes of a plan when one of its steps fails."""

    RETRY = "retry"
    """A call is repeated by the engine, and dead-lettered in the end; anything else escalates."""
    CONTINUE = "continue"
    """The step has failed, the plan goes on."""
    ESCALATE = "escalate"
    """A person owns the exception; nothing is undone."""
    COMPENSATE = "compensate"
    """The compensations of the steps that are done run in reverse order, then a person owns the exception."""


class StepState(StrEnum):
    """How far one step is. A step that nothing is recorded of is ahead, or it is its turn."""

    STARTED = "started"
    """What had to be decided when its turn came is decided: `output` holds it."""
    UNKNOWN = "unknown"
    """Its call went out and nobody knows what became of it; a person has to say."""
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Its condition did not match when its turn came."""


SETTLED = frozenset({StepState.DONE, StepState.FAILED, StepState.SKIPPED})
"""States that a step does not leave again by itself."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What is recorded of a step of the plan in force."""

    state: StepState
    output: Any = None
    """JSON, redacted: what `steps.<key>.output` gives. A large output has to be read before the plan goes on."""
    error: str | None = None
    by: str | None = None
    number: int = 0
    """How many steps of the plan were settled before it: compensations run in the reverse of this order."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What a decision records of a step, in place of what was recorded before."""

    path: str
    state: StepState
    output: Any = None
    error: str | None = None
    by: str | None = None
    number: int = 0

    @property
    def result(self) -> StepResult:
        """As later turns see it."""
        return StepResult(self.state, self.output, self.error, self.by, self.number)


TimerKind = Literal["wait", "step_timeout", "approval"]


@dataclass(frozen=True, slots=True)
class Timer:
    """When an input has to come by itself. One of the same kind and step replaces an earlier one."""

    kind: TimerKind
    step: str
    """The step's path; empty for an approval."""
    due_at: datetime


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, complete: nothing about it is looked up later but its secret."""

    tool: str
    url: str
    parameters: Mapping[str, Any]
    method: str = "POST"
    timeout_seconds: float = 10.0
    max_retries: int = 3
    idempotent: bool = False
    """The tool itself ignores a repeated Idempotency-Key: an unanswered call may be sent again."""
    batch_url: str | None = None
    """Where the tool takes many items in one call, each with its own key and answer; None: it does not."""
    kind: str = "http"
    """http, webhook, sql, kafka, python or smtp."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What its kind needs besides, as JSON. Secrets are references; their templates see `parameters.*` only."""
    max_concurrency: int | None = None
    """The most calls of it under way at once, over all workers; None: the operator's limit."""


@dataclass(frozen=True, slots=True)
class Block:
    """Steps of a group that belong together: an arm, or a foreach's body."""

    condition: str | None
    """Asked when the group's turn comes; None: it holds."""
    steps: tuple[PlanStep, ...]


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step. `order` is unique in its list and rises; `path` is unique in the plan."""

    order: int
    name: str
    kind: StepKind
    action: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tool_call: ToolCall | None = None
    """Present exactly when `kind` is EXTERNAL."""
    path: str = ""
    """`3`; inside groups `3.1`; of the first item of a foreach `3[0].1`; the compensation of 3 `3/undo`."""
    key: str | None = None
    """How later steps name its result: `steps.<key>.output`."""
    condition: str | None = None
    """Asked when its turn comes, because it reads earlier results; None: it holds."""
    on_failure: OnFailure = OnFailure.RETRY
    timeout_seconds: float | None = None
    compensation: PlanStep | None = None
    blocks: tuple[Block, ...] = ()
    """Of a group."""
    form: Mapping[str, Any] | None = None
    """JSON Schema of the answer a person gives."""
    deferred: bool = False
    """Some of its values can only be known when its turn comes: see `service.domain.deferred`."""

    def __post_init__(self) -> None:
        """A step of the plan's own list is known by its order."""
        if not self.path:
            object.__setattr__(self, "path", str(self.order))


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps to take, in order."""

    playbook: str
    steps: tuple[PlanStep, ...]
    basis: int | None = None
    """The input whose payload it was made from, where it reads sensitive values that only the payload holds."""

    def next_step(self, settled: Container[str]) -> PlanStep | None:
        """The first of its own steps whose path is not among those; None when the plan is carried out."""
        return next((step for step in self.steps if step.path not in settled), None)
