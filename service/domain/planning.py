"""From a playbook to a plan: conditions asked, templates resolved, steps frozen for one exception.

What only a step's turn will tell is left in the plan as a reference (see `deferred`). So are sensitive values that
a tool is declared to need: a plan is stored, shown and hashed, and never holds one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.domain import templates
from service.domain.conditions import Condition, Situation, Verdict
from service.domain.deferred import LATER, written
from service.domain.errors import TemplateUnresolvedError, ToolNotApprovedError
from service.domain.exceptions import ExceptionRecord, Json, Severity
from service.domain.packs.deciding.compiled import PackSet
from service.domain.packs.deciding.compiled_steps import CompiledBlock, CompiledStep
from service.domain.packs.deciding.playbook_index import CompiledPlaybook
from service.domain.packs.deciding.tool_calls import tool_call
from service.domain.packs.naming import UNKNOWN_TYPE
from service.domain.packs.notify import notify_call
from service.domain.plans import Block, Plan, PlanStep, StepKind, ToolCall
from service.domain.progress.resolving import Resolver, check_items, check_parameters
from service.domain.redaction import Redactor


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and which of the playbook's steps are not in it because their conditions did not match."""

    plan: Plan
    left_out: tuple[int | str, ...]
    path: str
    """The playbook's place in the pack."""


@dataclass(frozen=True, slots=True)
class NoPlan:
    """Why there is nothing to do."""

    reason: str


def make_plan(record: ExceptionRecord, packs: PackSet, now: datetime) -> Planned | NoPlan:
    """Choose the playbook for an exception and freeze it.

    Raises ConditionFailedError, TemplateUnresolvedError, ToolNotApprovedError, PayloadInvalidError.
    """
    type_name = record.exception_type or UNKNOWN_TYPE
    severity = record.severity or Severity.MEDIUM
    deadline = record.deadline_at or packs.deadline(record.received_at, severity)

    def situation(reads: frozenset[str] | None = None) -> Situation:
        return packs.situation(record, now, type_name, severity, deadline, reads)

    playbook = packs.playbooks.choose(type_name, severity, situation)
    if playbook is None:
        return NoPlan(f"no playbook is for {type_name} of severity {severity}")
    planned = plan_for(playbook, record, packs, situation(playbook.reads) if playbook.asks else None)
    if not planned.plan.steps:
        return NoPlan(f"no step of playbook {playbook.name!r} applies: the conditions left all of them out")
    return planned


def plan_for(
    playbook: CompiledPlaybook, record: ExceptionRecord, packs: PackSet, situation: Situation | None
) -> Planned:
    """Freeze a playbook for one exception; `situation` None: it has no conditions. Raises what `make_plan` raises."""
    freezing = _Freezing(situation, _Views(record, packs.redactor, playbook.shows))
    steps = freezing.steps(playbook.steps, "")
    plan = Plan(playbook.name, steps, record.sequence if freezing.sensitive else None)
    return Planned(plan, tuple(freezing.left_out), playbook.path)


def resolved_call(step: PlanStep, record: ExceptionRecord, packs: PackSet) -> ToolCall:
    """The call of a step of the plan in force with everything put in that is known now, just before it is made.

    Raises TemplateUnresolvedError, PayloadInvalidError.
    """
    assert step.tool_call is not None
    if not step.deferred or record.plan is None:
        return step.tool_call
    return Resolver(record, packs, record.plan, record.step_results).call(step)


_MADE_LATER = (StepKind.GROUP, StepKind.EXTERNAL)


class _Views:
    """What templates of one exception may read; one view for each set of fields to mask."""

    def __init__(self, record: ExceptionRecord, redactor: Redactor, keys: frozenset[str] | None) -> None:
        """`keys`: those of the payload that the templates name; None: they may show all of it."""
        payload = record.raw_payload
        self._record = record
        self._payload = payload if keys is None else {key: payload[key] for key in keys if key in payload}
        self.redactor = redactor
        self._views: dict[Any, dict[str, Any]] = {}

    def for_redactor(self, redactor: Redactor) -> Json:
        """The exception with the redactor's fields masked."""
        view = self._views.get(redactor.key)
        if view is None:
            payload = redactor.redact(self._payload).view
            view = self._views[redactor.key] = templates.view_of(self._record, payload)
        return view


@dataclass(slots=True)
class _Freezing:
    """One playbook being frozen for one exception."""

    situation: Situation | None
    views: _Views
    left_out: list[int | str] = field(default_factory=list)
    sensitive: bool = False
    """Some step will be sent a value that the plan must not hold."""

    def steps(self, steps: Iterable[CompiledStep], prefix: str) -> tuple[PlanStep, ...]:
        """A list of steps, without those that do not apply."""
        frozen: list[PlanStep] = []
        for step in steps:
            path = f"{prefix}{step.order}"
            kept = self._step(step, path) if self._applies(step) else None
            if kept is None:
                self.left_out.append(path if prefix else step.order)
                continue
            frozen.append(kept)
            if step.ends_plan and kept.condition is None:
                break
        return tuple(frozen)

    def _applies(self, step: CompiledStep) -> bool:
        return step.condition is None or step.later or self._matches(step.condition)

    def _matches(self, condition: Condition) -> bool:
        assert self.situation is not None
        return condition.judge(self.situation) is Verdict.MATCHES

    def _step(self, step: CompiledStep, path: str) -> PlanStep | None:
        """The step as the plan has it; None for a group without steps."""
        if step.parameters.__class__ is templates.Constant and step.kind not in _MADE_LATER:
            return self._plan_step(step, path, step.parameters.value, None, False)
        if step.kind is StepKind.GROUP:
            blocks = self._blocks(step, path)
            if not blocks:
                return None
            parameters, later = self._parameters(step)
            if step.action == "foreach" and not later:
                check_items(step.path, parameters)
            return self._plan_step(step, path, parameters, None, later, blocks)
        call = step.call
        if call is None:
            parameters, later = self._parameters(step)
            if step.action == "notify":
                return self._plan_step(step, path, {}, notify_call(parameters), later)
            return self._plan_step(step, path, parameters, None, later)
        if call.refusal is not None:
            raise ToolNotApprovedError(step.path, call.name, call.refusal)
        parameters, later = self._parameters(step)
        if not later:
            check_parameters(step.path, call.name, call.tool.parameters, parameters)
        return self._plan_step(step, path, {}, tool_call(call.name, call.tool, parameters), later)

    def _plan_step(
        self,
        step: CompiledStep,
        path: str,
        parameters: Json,
        call: ToolCall | None,
        later: bool,
        blocks: tuple[Block, ...] = (),
    ) -> PlanStep:
        if call is not None and step.timeout_seconds is not None:
            call = _within(call, step.timeout_seconds)
        undo = step.compensation
        action = step.action
        if step.kind is StepKind.MANUAL and not isinstance(step.parameters, templates.Constant):
            instructions = parameters.get("instructions")
            action = instructions if isinstance(instructions, str) else step.name
        return PlanStep(
            order=step.order,
            name=step.name,
            kind=step.kind,
            action=action,
            parameters=parameters,
            tool_call=call,
            path=path,
            key=step.key,
            condition=step.condition.source if step.later and step.condition is not None else None,
            on_failure=step.on_failure,
            timeout_seconds=step.timeout_seconds,
            compensation=None if undo is None else self._step(undo, f"{path}/undo"),
            blocks=blocks,
            form=step.form,
            deferred=later,
        )

    def _blocks(self, step: CompiledStep, path: str) -> tuple[Block, ...]:
        """A group's steps. Of a branch, arms that the exception alone decides are decided here."""
        if step.action == "branch":
            return self._arms(step, path)
        if step.action == "foreach":
            inner = self.steps(step.blocks[0].steps, f"{path}[*].")
            return (Block(None, inner),) if inner else ()
        blocks = (self.steps(block.steps, f"{path}.{arm}.") for arm, block in enumerate(step.blocks, 1))
        return tuple(Block(None, steps) for steps in blocks if steps)

    def _arms(self, step: CompiledStep, path: str) -> tuple[Block, ...]:
        arms: list[Block] = []
        for number, block in enumerate(step.blocks, 1):
            if not self._reachable(block):
                continue
            condition = block.condition.source if block.later and block.condition is not None else None
            arms.append(Block(condition, self.steps(block.steps, f"{path}.{number}.")))
            if condition is None:
                break
        return tuple(arms) if any(arm.steps for arm in arms) else ()

    def _reachable(self, block: CompiledBlock) -> bool:
        return block.condition is None or block.later or self._matches(block.condition)

    def _parameters(self, step: CompiledStep) -> tuple[Mapping[str, Any], bool]:
        """Values with what is known put in, and whether something is left for later."""
        template = step.parameters
        if isinstance(template, templates.Constant):
            constant: Mapping[str, Any] = template.value
            return constant, False
        look = _Looking(self, self.views.for_redactor(step.redactor), self._shown(step))
        try:
            if not step.waits and look.shown is None:
                rendered: Mapping[str, Any] = templates.render(template, look.view)
                return rendered, False
            if not any(look(placeholder) is LATER for placeholder in templates.placeholders(template)):
                return templates.render(template, look.view), False
            return written(template, look), True
        except templates.UnresolvedError as error:
            raise TemplateUnresolvedError(step.path, error.expression, error.reason) from error

    def _shown(self, step: CompiledStep) -> Json | None:
        """What everybody may read, for a step that may read more; None for one that may not."""
        return None if step.redactor is self.views.redactor else self.views.for_redactor(self.views.redactor)


@dataclass(slots=True)
class _Looking:
    """Looks placeholders up while a plan is made."""

    freezing: _Freezing
    view: Json
    shown: Json | None

    def __call__(self, placeholder: templates.Placeholder) -> Any:
        if placeholder.scope != "exception":
            return LATER
        value = templates.resolve(placeholder, self.view)
        if self.shown is not None and value != templates.resolve(placeholder, self.shown):
            self.freezing.sensitive = True
            return LATER
        return value


def _within(call: ToolCall, seconds: float) -> ToolCall:
    return ToolCall(**{**{name: getattr(call, name) for name in ToolCall.__slots__}, "timeout_seconds": seconds})
