"""Steps of playbooks, compiled: templates parsed, conditions compiled, tools found, at any depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.domain import templates
from service.domain.conditions import Condition, compile_condition
from service.domain.packs.checking.step_references import Keys, later_names
from service.domain.packs.deciding.guardrails import EffectiveGuardrails
from service.domain.packs.steps import (
    ActionType,
    BranchStep,
    ForeachStep,
    LeafStep,
    ParallelStep,
    ProseStep,
    StepBase,
    WaitStep,
    order_of,
)
from service.domain.packs.tools import Tool
from service.domain.plans import OnFailure, StepKind
from service.domain.redaction import Redactor

_LONGEST_NAME = 80
_WAITED_FOR = {"minutes", "seconds", "until", "event"}


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """The tool a step calls."""

    name: str
    tool: Tool
    refusal: str | None
    """Why the guardrails forbid it; None: they do not."""


@dataclass(frozen=True, slots=True)
class CompiledBlock:
    """Steps of a group that belong together."""

    condition: Condition | None
    later: bool
    """The condition reads earlier results."""
    steps: tuple[CompiledStep, ...]


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step with its templates parsed and its condition compiled."""

    path: str
    """Its place in the pack, as errors name it."""
    order: int
    name: str
    kind: StepKind
    action: str
    """An `ActionType`'s value, or a manual step's prose."""
    parameters: templates.Template
    condition: Condition | None
    call: CompiledCall | None
    redactor: Redactor
    """Masks what this step may not read."""
    ends_plan: bool
    """It sets the final status: nothing after it is planned."""
    later: bool = False
    """The condition reads earlier results: it is asked when the step's turn comes."""
    key: str | None = None
    on_failure: OnFailure = OnFailure.RETRY
    timeout_seconds: float | None = None
    compensation: CompiledStep | None = None
    blocks: tuple[CompiledBlock, ...] = ()
    form: Mapping[str, Any] | None = None
    waits: bool = False
    """Some of its parameters are only known when its turn comes."""


@dataclass(frozen=True, slots=True)
class StepCompiler:
    """Compiles the steps of one pack's playbooks."""

    tools: Mapping[str, Tool]
    guardrails: EffectiveGuardrails
    redactor: Redactor

    def all(self, steps: Iterable[StepBase], path: str) -> tuple[CompiledStep, ...]:
        """A playbook's steps, in order."""
        listed = list(steps)
        keys = Keys.of((step.key, step.name) for step in _within(listed))
        return tuple(self._steps(listed, path, keys))

    def _steps(self, steps: Iterable[StepBase], path: str, keys: Keys) -> Iterator[CompiledStep]:
        ordered = sorted(enumerate(steps), key=lambda item: order_of(item[1], item[0]))
        for index, step in ordered:
            yield self._step(step, order_of(step, index), f"{path}[{index}]", keys)

    def _step(self, step: StepBase, order: int, path: str, keys: Keys) -> CompiledStep:
        call = self._call(step)
        condition = None if step.condition is None else compile_condition(step.condition, f"{path}.condition")
        undo = step.compensation
        parameters = _parameters(step)
        compiled = CompiledStep(
            path=path,
            order=order,
            name=step.name or _action(step)[:_LONGEST_NAME],
            kind=_kind(step),
            action=_action(step),
            parameters=parameters,
            condition=condition,
            call=call,
            redactor=self.redactor if call is None else self.redactor.without(call.tool.sensitiveFields),
            ends_plan=_type(step) is ActionType.SET_STATUS,
            later=condition is not None and bool(later_names(condition)),
            key=keys.key_of(step.key, step.name),
            on_failure=step.onFailure or OnFailure.RETRY,
            timeout_seconds=_timeout(step),
            compensation=None if undo is None else self._step(undo, order, f"{path}.compensation", keys),
            form=step.params.get("form") if isinstance(step, LeafStep) else None,
            waits=any(placeholder.scope != "exception" for placeholder in templates.placeholders(parameters)),
        )
        blocks = tuple(self._blocks(step, path, keys))
        return replace(compiled, blocks=blocks) if blocks else compiled

    def _blocks(self, step: StepBase, path: str, keys: Keys) -> Iterator[CompiledBlock]:
        match step:
            case BranchStep(params=params):
                arms = [] if params.then is None else [("params", params.condition, params.then, "then")]
                arms += [(f"params.arms[{n}]", arm.condition, arm.steps, "then") for n, arm in enumerate(params.arms)]
                for place, condition, steps, name in arms:
                    assert condition is not None
                    asked = compile_condition(condition, f"{path}.{place}.if")
                    compiled = tuple(self._steps(steps, f"{path}.{place}.{name}", keys))
                    yield CompiledBlock(asked, bool(later_names(asked)), compiled)
                if params.otherwise:
                    yield self._block(params.otherwise, f"{path}.params.else", keys)
            case ForeachStep(params=params):
                yield self._block(params.steps, f"{path}.params.steps", keys)
            case ParallelStep(params=params):
                for index, steps in enumerate(params.branches):
                    yield self._block(steps, f"{path}.params.branches[{index}]", keys)

    def _block(self, steps: Iterable[StepBase], path: str, keys: Keys) -> CompiledBlock:
        return CompiledBlock(None, False, tuple(self._steps(steps, path, keys)))

    def _call(self, step: StepBase) -> CompiledCall | None:
        if not isinstance(step, LeafStep) or step.action_type is not ActionType.CALL_TOOL:
            return None
        name = step.params["tool"]
        return CompiledCall(name, self.tools[name], self.guardrails.refusal_of(name))


def conditions_of(steps: Iterable[CompiledStep]) -> Iterator[Condition]:
    """The conditions that are asked when a plan is made."""
    for step in steps:
        if step.condition is not None and not step.later:
            yield step.condition
        for block in step.blocks:
            if block.condition is not None and not block.later:
                yield block.condition
            yield from conditions_of(block.steps)


def keys_shown(steps: Iterable[CompiledStep]) -> frozenset[str] | None:
    """The payload's top-level keys that the templates name; None: some show all of it."""
    keys: frozenset[str] = frozenset()
    for step in _all_within(steps):
        for placeholder in templates.placeholders(step.parameters):
            if placeholder.scope == "exception" and placeholder.path[0] == "rawPayload":
                if len(placeholder.path) == 1:
                    return None
                keys |= {placeholder.path[1]}
    return keys


def _all_within(steps: Iterable[CompiledStep]) -> Iterator[CompiledStep]:
    for step in steps:
        yield step
        if step.compensation is not None:
            yield step.compensation
        for block in step.blocks:
            yield from _all_within(block.steps)


def _within(steps: Iterable[StepBase]) -> Iterator[StepBase]:
    for step in steps:
        yield step
        match step:
            case BranchStep(params=params):
                for arm in (params.then or [], *(arm.steps for arm in params.arms), params.otherwise):
                    yield from _within(arm)
            case ForeachStep(params=params):
                yield from _within(params.steps)
            case ParallelStep(params=params):
                for branch in params.branches:
                    yield from _within(branch)


def _type(step: StepBase) -> ActionType | None:
    kind: ActionType | None = getattr(step, "action_type", None)
    return kind


def _kind(step: StepBase) -> StepKind:
    kind = _type(step)
    return StepKind.MANUAL if kind is None else kind.kind


def _action(step: StepBase) -> str:
    if isinstance(step, ProseStep):
        return step.action
    if isinstance(step, LeafStep) and step.action_type is ActionType.MANUAL:
        return str(step.params.get("instructions") or step.name or "manual")
    return str(_type(step))


def _timeout(step: StepBase) -> float | None:
    if isinstance(step, WaitStep) and step.timeout is None:
        params = step.params
        return params.timeoutMinutes * 60 if params.timeoutMinutes is not None else params.timeoutSeconds
    return step.timeout


def _parameters(step: StepBase) -> templates.Template:
    """What is resolved for an exception. Prose is for people: its parameters are handed on as they stand."""
    match step:
        case ProseStep():
            return templates.Constant(step.parameters)
        case LeafStep(action_type=ActionType.CALL_TOOL):
            return templates.parse(step.params.get("parameters", {}))
        case LeafStep():
            return templates.parse({key: value for key, value in step.params.items() if key != "form"})
        case WaitStep(params=params):
            return templates.parse(params.model_dump(exclude_none=True, include=_WAITED_FOR))
        case ForeachStep(params=params):
            return templates.parse({"items": params.items, "max": params.max, "parallel": params.parallel})
    return templates.Constant({})
