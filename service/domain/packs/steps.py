"""Steps of playbooks as packs write them, in both forms.

A step is prose (`{action, parameters}`), which a person carries out, or executable
(`{step_order, name, action_type, params, …}`). docs/playbooks.md is the reference for people who write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, Discriminator, Field, Tag, model_validator

from service.domain.exceptions import InputType
from service.domain.packs.parts import ConditionText, Minutes, Part
from service.domain.plans import OnFailure, StepKind

LONGEST_FOREACH = 100
MOST_BRANCHES = 20

StepList = Annotated[list["Step"], Field(min_length=1)]
Key = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z_]\w*$")]
Seconds = Annotated[float, Field(gt=0, le=315_360_000, allow_inf_nan=False)]
SIGNAL_NAME = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,198}[^\s\x00-\x1f\x7f])?$"
"""What a signal may be called: up to 200 characters on one line, without blanks around them."""


def _not_an_input(name: str) -> str:
    if name in frozenset(InputType):
        raise ValueError("is a kind of input with a call of its own, and cannot be a signal's name")
    return name


EventName = Annotated[str, Field(pattern=SIGNAL_NAME), AfterValidator(_not_an_input)]


class ActionType(StrEnum):
    """What an executable step does."""

    SET_STATUS = "set_status"
    ASSIGN_OWNER = "assign_owner"
    ADD_COMMENT = "add_comment"
    CALL_TOOL = "call_tool"
    NOTIFY = "notify"
    MANUAL = "manual"
    WAIT = "wait"
    BRANCH = "branch"
    FOREACH = "foreach"
    PARALLEL = "parallel"

    @property
    def kind(self) -> StepKind:
        """Who carries it out."""
        return _KINDS.get(self, StepKind.INTERNAL)


_KINDS = {
    ActionType.CALL_TOOL: StepKind.EXTERNAL,
    ActionType.NOTIFY: StepKind.EXTERNAL,
    ActionType.MANUAL: StepKind.MANUAL,
    ActionType.WAIT: StepKind.WAIT,
    ActionType.BRANCH: StepKind.GROUP,
    ActionType.FOREACH: StepKind.GROUP,
    ActionType.PARALLEL: StepKind.GROUP,
}


class StepBase(Part):
    """What steps of every kind may say."""

    step_order: int | None = Field(default=None, ge=1, le=10_000)
    name: str | None = Field(default=None, min_length=1, max_length=200)
    key: Key | None = None
    """How later steps name its result; by default its name, where that is an identifier and no other step's."""
    condition: ConditionText | None = None
    """Asked when the plan is made, or when its turn comes if it reads earlier results; the step is left out when it
    does not match."""
    onFailure: Annotated[OnFailure, Field(strict=False)] | None = Field(
        default=None, validation_alias=AliasChoices("onFailure", "on_failure")
    )
    timeoutSeconds: Seconds | None = None
    timeoutMinutes: Minutes | None = None
    compensation: Step | None = None
    """Undoes it, when a later step fails whose onFailure is compensate."""

    @property
    def timeout(self) -> float | None:
        """Its time limit in seconds."""
        return self.timeoutMinutes * 60 if self.timeoutMinutes is not None else self.timeoutSeconds

    @model_validator(mode="before")
    @classmethod
    def _has_one_form(cls, document: Any) -> Any:
        if not isinstance(document, Mapping):
            return document
        if (document.get("action") is None) == (document.get("action_type") is None):
            raise ValueError("a step has either `action` (prose, for a person) or `action_type` (executable)")
        if document.get("action") is None and document.get("parameters"):
            raise ValueError(
                "an executable step takes `params`; `parameters` belongs to a prose step or inside call_tool's params"
            )
        return document

    @model_validator(mode="after")
    def _has_one_time_limit(self) -> StepBase:
        if self.timeoutSeconds is not None and self.timeoutMinutes is not None:
            raise ValueError("a time limit is given by either `timeoutSeconds` or `timeoutMinutes`")
        return self


class ProseStep(StepBase):
    """Something a person does, in words."""

    action: str = Field(min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)


class ActionStep(StepBase):
    """A step that names what it does."""

    action_type: Annotated[ActionType, Field(strict=False)]


class LeafStep(ActionStep):
    """A step whose `params` may hold templates anywhere."""

    params: dict[str, Any] = Field(default_factory=dict)


class WaitParams(Part):
    """Until when a plan waits: exactly one of a duration, a time, an event."""

    minutes: Minutes | None = None
    seconds: Seconds | None = None
    until: str | None = Field(default=None, min_length=1, max_length=500)
    """A time as text (ISO 8601), or a template that gives one."""
    event: EventName | None = None
    """The name of a signal."""
    timeoutMinutes: Minutes | None = None
    timeoutSeconds: Seconds | None = None

    @model_validator(mode="after")
    def _waits_for_one_thing(self) -> WaitParams:
        named = [key for key in ("minutes", "seconds", "until", "event") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError("wait needs exactly one of `minutes`, `seconds`, `until` and `event`")
        if self.event is None and (self.timeoutMinutes is not None or self.timeoutSeconds is not None):
            raise ValueError("only a wait for an `event` has a time limit")
        return self


class WaitStep(ActionStep):
    """Nobody acts until a time or a signal comes."""

    params: WaitParams


class Arm(Part):
    """Steps of a branch that are taken when their condition matches."""

    condition: ConditionText = Field(validation_alias=AliasChoices("if", "condition"))
    steps: StepList = Field(validation_alias=AliasChoices("then", "steps"))


class BranchParams(Part):
    """The first arm whose condition matches is taken, else `otherwise` (`else` in the document)."""

    condition: ConditionText | None = Field(default=None, validation_alias=AliasChoices("if", "condition"))
    then: StepList | None = None
    arms: list[Arm] = Field(default_factory=list, max_length=MOST_BRANCHES)
    otherwise: list[Step] = Field(default_factory=list, validation_alias=AliasChoices("else", "otherwise"))

    @model_validator(mode="after")
    def _has_an_arm(self) -> BranchParams:
        if (self.condition is None) != (self.then is None):
            raise ValueError("`if` and `then` belong together")
        if self.condition is None and not self.arms:
            raise ValueError("branch needs `if` and `then`, or `arms`")
        return self


class BranchStep(ActionStep):
    """One of several ways."""

    params: BranchParams


class ForeachParams(Part):
    """The same steps for every item of a list."""

    items: str | list[Any]
    """A list, or a template that gives one."""
    max: int = Field(default=LONGEST_FOREACH, ge=1, le=LONGEST_FOREACH)
    """A longer list fails the exception: nothing is left out silently."""
    parallel: bool = False
    steps: StepList


class ForeachStep(ActionStep):
    """Steps for each item, one item after the other or all at once."""

    params: ForeachParams


class ParallelParams(Part):
    """Several lists of steps at once; the plan goes on when all are done."""

    branches: list[StepList] = Field(min_length=1, max_length=MOST_BRANCHES)
    join: Literal["all"] = "all"


class ParallelStep(ActionStep):
    """Several ways at once."""

    params: ParallelParams


_CLASSES: Mapping[str, type[ActionStep]] = {
    ActionType.WAIT: WaitStep,
    ActionType.BRANCH: BranchStep,
    ActionType.FOREACH: ForeachStep,
    ActionType.PARALLEL: ParallelStep,
}


def step_class(document: Any) -> type[StepBase]:
    """The class that reads a step's document; what is wrong with the document is that class's to tell."""
    kind = document.get("action_type") if isinstance(document, Mapping) else getattr(document, "action_type", None)
    if kind is None:
        return ProseStep
    return _CLASSES.get(kind, LeafStep) if isinstance(kind, str) else LeafStep


def _tag_of(document: Any) -> str:
    return f"[{step_class(document).__name__}]"


Step = Annotated[
    Annotated[ProseStep, Tag("[ProseStep]")]
    | Annotated[LeafStep, Tag("[LeafStep]")]
    | Annotated[WaitStep, Tag("[WaitStep]")]
    | Annotated[BranchStep, Tag("[BranchStep]")]
    | Annotated[ForeachStep, Tag("[ForeachStep]")]
    | Annotated[ParallelStep, Tag("[ParallelStep]")],
    Discriminator(_tag_of),
]
"""A step of the kind its document names; the tags are in brackets so that paths of faults can leave them out."""

for _class in (ProseStep, LeafStep, Arm, WaitStep, BranchParams, ForeachParams, ParallelParams, BranchStep,
               ForeachStep, ParallelStep):  # fmt: skip
    _class.model_rebuild()


def order_of(step: StepBase, index: int) -> int:
    """A step's order: as given, else its place in the list, from 1."""
    return index + 1 if step.step_order is None else step.step_order
