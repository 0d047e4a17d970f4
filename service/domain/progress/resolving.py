"""Values that only a step's turn tells: earlier results, a foreach's item, and what a plan must not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from service.domain import templates
from service.domain.conditions import Condition, Situation, Verdict, compile_condition
from service.domain.deferred import completed
from service.domain.errors import PayloadInvalidError, TemplateUnresolvedError
from service.domain.exceptions import ExceptionRecord, Json, Severity
from service.domain.packs.deciding.compiled import PackSet
from service.domain.packs.entities import Declared, is_of_type
from service.domain.packs.naming import UNKNOWN_TYPE
from service.domain.plans import Plan, PlanStep, ToolCall
from service.domain.progress.tree import Results, item_of, results_before
from service.domain.redaction import Redactor
from service.errors import PermanentError


@dataclass(slots=True)
class Resolver:
    """Puts values into the steps of one exception's plan."""

    record: ExceptionRecord
    packs: PackSet
    plan: Plan
    results: Results
    _views: dict[Any, Json] = field(default_factory=dict)

    def call(self, step: PlanStep) -> ToolCall:
        """What is called. Raises TemplateUnresolvedError, PayloadInvalidError."""
        call = step.tool_call
        assert call is not None
        if not step.deferred:
            return call
        tool = self.packs.domain.tools.get(call.tool)
        redactor = self.packs.redactor if tool is None else self.packs.redactor.without(tool.sensitiveFields)
        parameters = self._completed(step, call.parameters, redactor)
        if tool is not None:
            check_parameters(_named(step), call.tool, tool.parameters, parameters)
        return replace(call, parameters=parameters)

    def parameters(self, step: PlanStep) -> Json:
        """A step's parameters. Raises TemplateUnresolvedError."""
        if not step.deferred:
            return step.parameters
        return self._completed(step, step.parameters, self.packs.redactor)

    def holds(self, condition: str, step: PlanStep, now: datetime) -> bool:
        """Whether a condition that reads earlier results matches. Raises ConditionFailedError."""
        situation = self._situation(step, now)
        return _compiled(condition, _named(step)).judge(situation) is Verdict.MATCHES

    def _completed(self, step: PlanStep, value: Json, redactor: Redactor) -> Json:
        try:
            found: Json = completed(value, lambda placeholder: self._look(placeholder, step, redactor))
        except templates.UnresolvedError as error:
            raise TemplateUnresolvedError(_named(step), error.expression, error.reason) from error
        return found

    def _look(self, placeholder: templates.Placeholder, step: PlanStep, redactor: Redactor) -> Any:
        if placeholder.scope == "exception":
            return templates.resolve(placeholder, self._view(redactor))
        if placeholder.scope == "steps":
            return templates.resolve(placeholder, results_before(self.plan, self.results, step.path))
        found = item_of(self.plan, self.results, step.path)
        if found is None:
            raise templates.UnresolvedError(placeholder.expression, "the step is inside no foreach")
        return templates.resolve(placeholder, found[0] if placeholder.scope == "item" else found[1])

    def _view(self, redactor: Redactor) -> Json:
        view = self._views.get(redactor.key)
        if view is None:
            view = templates.view_of(self.record, redactor.redact(self.record.raw_payload).view)
            self._views[redactor.key] = view
        return view

    def _situation(self, step: PlanStep, now: datetime) -> Situation:
        record, packs = self.record, self.packs
        type_name, severity = record.exception_type or UNKNOWN_TYPE, record.severity or Severity.MEDIUM
        deadline = record.deadline_at or packs.deadline(record.received_at, severity)
        further: dict[str, Any] = {"steps": results_before(self.plan, self.results, step.path)}
        found = item_of(self.plan, self.results, step.path)
        if found is not None:
            further |= {"item": found[0], "index": found[1]}

        def tags() -> tuple[str, ...]:
            return packs.policy_tags.tagged(record, now, type_name, deadline).tags

        return Situation(record, now, type_name, severity, deadline, None, tags, further)


def check_parameters(step: str, tool: str, declared: Mapping[str, Declared], parameters: Json) -> None:
    """Raise PayloadInvalidError for values that the tool does not take."""
    faults = [
        f"{step}: tool {tool!r} takes {key} as {declared[key].type}, the exception gave something else"
        for key, value in parameters.items()
        if key in declared and not is_of_type(value, declared[key].type)
    ]
    if faults:
        raise PayloadInvalidError(faults, tool)


def check_items(step: str, parameters: Json) -> None:
    """Raise PayloadInvalidError for what is no list, or longer than the foreach allows."""
    items, most = parameters["items"], parameters["max"]
    if not isinstance(items, list | tuple):
        raise PayloadInvalidError([f"{step}: the items of a foreach must be a list"])
    if len(items) > most:
        raise PayloadInvalidError([f"{step}: there are {len(items)} items, the foreach's `max` allows {most}"])


@lru_cache(maxsize=1024)
def _compiled(source: str, path: str) -> Condition:
    try:
        return compile_condition(source, path)
    except ValueError as error:
        raise ConditionLostError(path, str(error)) from error


class ConditionLostError(PermanentError):
    """A stored plan has a condition that this version cannot read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}; redrive the exception from the playbook stage")


def _named(step: PlanStep) -> str:
    return f"step {step.path} ({step.name})"
