"""From a playbook to a plan: conditions asked, templates resolved, steps frozen for one exception."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain import templates
from service.domain.conditions import Situation, Verdict
from service.domain.errors import PayloadInvalidError, TemplateUnresolvedError, ToolNotApprovedError
from service.domain.exceptions import ExceptionRecord, Json
from service.domain.packs.compiled import PackSet
from service.domain.packs.entities import is_of_type
from service.domain.packs.playbook_index import CompiledPlaybook, CompiledStep
from service.domain.packs.tool_calls import tool_call
from service.domain.plans import Plan, PlanStep, ToolCall
from service.domain.redaction import Redactor


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the orders of the playbook's steps whose condition left them out of it."""

    plan: Plan
    left_out: tuple[int, ...]


def plan_for(playbook: CompiledPlaybook, record: ExceptionRecord, situation: Situation) -> Planned:
    """Freeze a playbook for one exception.

    Raises ConditionFailedError, TemplateUnresolvedError, ToolNotApprovedError, PayloadInvalidError.
    """
    views = _Views(record)
    steps: list[PlanStep] = []
    left_out: list[int] = []
    for step in playbook.steps:
        if step.condition is not None and step.condition.judge(situation) is not Verdict.MATCHES:
            left_out.append(step.order)
            continue
        steps.append(_frozen(step, views))
        if step.ends_plan:
            break
    return Planned(Plan(playbook.name, tuple(steps)), tuple(left_out))


def resolved_call(step: PlanStep, record: ExceptionRecord, packs: PackSet) -> ToolCall:  # noqa: ARG001 - templates
    """The call of a step with everything known now put in, just before it is made.

    Raises TemplateUnresolvedError, PayloadInvalidError.
    """
    assert step.tool_call is not None
    return step.tool_call


class _Views:
    """What templates of one exception may read; one view for each set of fields to mask."""

    def __init__(self, record: ExceptionRecord) -> None:
        self._record = record
        self._views: dict[Hashable, dict[str, Any]] = {}

    def for_redactor(self, redactor: Redactor) -> Json:
        """The exception with the redactor's fields masked."""
        view = self._views.get(redactor.key)
        if view is None:
            payload = redactor.redact(self._record.raw_payload).view
            view = self._views[redactor.key] = templates.view_of(self._record, payload)
        return view


def _frozen(step: CompiledStep, views: _Views) -> PlanStep:
    call = step.call
    if call is not None and call.refusal is not None:
        raise ToolNotApprovedError(step.path, call.name, call.refusal)
    parameters = _resolved(step, views)
    if call is None:
        return PlanStep(step.order, step.name, step.kind, step.action, parameters)
    return PlanStep(step.order, step.name, step.kind, step.action, {}, _tool_call(step, parameters))


def _resolved(step: CompiledStep, views: _Views) -> Mapping[str, Any]:
    template = step.parameters
    if isinstance(template, templates.Constant):
        constant: Mapping[str, Any] = template.value
        return constant
    try:
        resolved: Mapping[str, Any] = templates.render(template, views.for_redactor(step.redactor))
    except templates.UnresolvedError as error:
        raise TemplateUnresolvedError(step.path, error.expression, error.reason) from error
    return resolved


def _tool_call(step: CompiledStep, parameters: Mapping[str, Any]) -> ToolCall:
    assert step.call is not None
    name, tool = step.call.name, step.call.tool
    faults = [
        f"{step.path}: tool {name!r} takes {key} as {tool.parameters[key].type}, the exception gave something else"
        for key, value in parameters.items()
        if key in tool.parameters and not is_of_type(value, tool.parameters[key].type)
    ]
    if faults:
        raise PayloadInvalidError(faults)
    return tool_call(name, tool, parameters)
