"""What is wrong with one step by itself, given the tools it may call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from service.domain import templates
from service.domain.conditions import VARIABLES, compile_condition, unknown_names
from service.domain.exceptions import Status
from service.domain.forms import form_faults
from service.domain.packs.checking.step_references import LATER_NAMES
from service.domain.packs.entities import is_of_type
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.notify import notify_faults, notify_keys
from service.domain.packs.steps import ActionType, ForeachStep, LeafStep, ProseStep, StepBase, WaitStep
from service.domain.packs.tools import ToolSignature
from service.domain.plans import StepKind

ENDS = (Status.RESOLVED, Status.ESCALATED)
"""What a step may set the status to: the ends that a plan can decide. Everything else follows from its course."""

LONGEST_CALL = 300.0
"""Seconds: the largest time limit of a call."""

_TEXT_PARAMETER = {ActionType.ASSIGN_OWNER: "owner", ActionType.ADD_COMMENT: "text"}
_KNOWN_PARAMS = {
    ActionType.SET_STATUS: {"status"},
    ActionType.ASSIGN_OWNER: {"owner"},
    ActionType.ADD_COMMENT: {"text"},
    ActionType.CALL_TOOL: {"tool", "parameters"},
    ActionType.MANUAL: {"instructions", "form"},
}

Tools = Mapping[str, ToolSignature | None]
"""The domain's tools by name; None for one whose own definition has faults. None altogether: not known here."""


def leaf_faults(path: str, step: StepBase, tools: Tools | None) -> Iterator[Fault]:
    """Everything wrong with a step whose form is right, except what it refers to and what is inside it."""
    yield from _common_faults(path, step)
    match step:
        case WaitStep():
            yield from _wait_faults(path, step)
        case ForeachStep():
            yield from _items_faults(f"{path}.params.items", step)
        case LeafStep():
            yield from _params_faults(path, step, tools)


def leaf_warnings(path: str, step: StepBase, tools: Tools | None, sensitive: frozenset[str]) -> Iterator[Fault]:
    """What a step says in vain, or that its author may not have meant."""
    if step.condition is not None:
        for name in unknown_names(compile_condition(step.condition, path), VARIABLES | LATER_NAMES):
            yield Fault(f"{path}.condition", f"there is no {name}; every exception that gets to this step fails")
    if kind_of(step) is StepKind.INTERNAL and step.onFailure is not None:
        yield Fault(f"{path}.onFailure", "this step is carried out by the pipeline itself; it has no effect")
    if not isinstance(step, LeafStep):
        return
    notifies = step.action_type is ActionType.NOTIFY
    known = notify_keys(step.params.get("channel")) if notifies else _KNOWN_PARAMS.get(step.action_type, frozenset())
    for key in step.params.keys() - known:
        yield Fault(path_of((key,), f"{path}.params"), f"{step.action_type} knows no {key!r}; it has no effect")
    if step.action_type is ActionType.CALL_TOOL and tools is not None:
        yield from _call_warnings(path, step, tools, sensitive)


def kind_of(step: StepBase) -> StepKind:
    """Who carries a step out."""
    return StepKind.MANUAL if isinstance(step, ProseStep) else ActionType(getattr(step, "action_type")).kind  # noqa: B009 - every other class has it


def _common_faults(path: str, step: StepBase) -> Iterator[Fault]:
    kind = kind_of(step)
    limit = "timeoutMinutes" if step.timeoutMinutes is not None else "timeoutSeconds"
    if step.timeout is not None:
        if kind in (StepKind.INTERNAL, StepKind.GROUP):
            yield Fault(f"{path}.{limit}", "only calls, waits for an event and steps for people have a time limit")
        elif kind is StepKind.EXTERNAL and step.timeout > LONGEST_CALL:
            yield Fault(f"{path}.{limit}", f"a call may take {LONGEST_CALL:g} seconds")
    if kind is StepKind.GROUP:
        for key in ("onFailure", "compensation"):
            if getattr(step, key) is not None:
                yield Fault(f"{path}.{key}", "belongs to the steps inside the group, not to the group")


def _wait_faults(path: str, step: WaitStep) -> Iterator[Fault]:
    params = step.params
    if params.event is None and step.timeout is not None:
        yield Fault(f"{path}.timeoutSeconds", "only a wait for an `event` has a time limit")
    if params.event is not None and params.timeoutMinutes is not None and params.timeoutSeconds is not None:
        yield Fault(f"{path}.params", "a time limit is given by either `timeoutMinutes` or `timeoutSeconds`")
    if params.until is None:
        return
    here = f"{path}.params.until"
    try:
        template = templates.parse(params.until)
    except templates.TemplateError as error:
        yield Fault(here, str(error))
        return
    if isinstance(template, templates.Constant) and time_of(template.value) is None:
        yield Fault(here, "must be a time with its offset, like 2026-01-31T17:00:00Z, or a template that gives one")


def time_of(value: Any) -> datetime | None:
    """The time that a text tells; None if it tells none, or not where."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _items_faults(path: str, step: ForeachStep) -> Iterator[Fault]:
    items = step.params.items
    yield from _template_faults(path, items)
    if isinstance(items, str):
        try:
            template = templates.parse(items)
        except templates.TemplateError:
            return
        if not isinstance(template, templates.Placeholder):
            yield Fault(path, "must be a list, or one template that gives a list")
    elif len(items) > step.params.max:
        yield Fault(path, f"has {len(items)} items, `max` allows {step.params.max}")


def _params_faults(path: str, step: LeafStep, tools: Tools | None) -> Iterator[Fault]:
    match step.action_type:
        case ActionType.SET_STATUS:
            if step.params.get("status") not in ENDS:
                yield Fault(f"{path}.params.status", f"must be one of {', '.join(ENDS)}")
        case ActionType.ASSIGN_OWNER | ActionType.ADD_COMMENT:
            yield from _text_faults(path, step, _TEXT_PARAMETER[step.action_type])
        case ActionType.CALL_TOOL:
            yield from _call_faults(path, step, tools)
        case ActionType.MANUAL:
            instructions = {key: value for key, value in step.params.items() if key != "form"}
            yield from _template_faults(f"{path}.params", instructions)
            if "form" in step.params:
                for place, fault in form_faults(step.params["form"]):
                    yield Fault(path_of(place, f"{path}.params.form"), fault)
        case ActionType.NOTIFY:
            yield from notify_faults(f"{path}.params", step.params)
            for key, value in step.params.items():
                yield from _template_faults(path_of((key,), f"{path}.params"), value)


def _text_faults(path: str, step: LeafStep, name: str) -> Iterator[Fault]:
    text = step.params.get(name)
    here = f"{path}.params.{name}"
    if not isinstance(text, str) or not text.strip():
        yield Fault(here, f"{step.action_type} needs {name!r}, a text")
    else:
        yield from _template_faults(here, text)


def _call_faults(path: str, step: LeafStep, tools: Tools | None) -> Iterator[Fault]:
    name = step.params.get("tool")
    if not isinstance(name, str):
        yield Fault(f"{path}.params.tool", "call_tool needs 'tool', the name of one of the domain's tools")
    elif tools is not None and name not in tools:
        yield Fault(f"{path}.params.tool", f"the domain has no tool {name!r}")
    parameters = step.params.get("parameters", {})
    here = f"{path}.params.parameters"
    if not isinstance(parameters, Mapping):
        yield Fault(here, "must be an object of parameter names and templates")
        return
    for key, value in parameters.items():
        yield from _template_faults(path_of((key,), here), value)
    tool = tools.get(name) if tools is not None and isinstance(name, str) else None
    if tool is not None:
        yield from _parameter_faults(here, parameters, tool)


def _parameter_faults(path: str, given: Mapping[str, Any], tool: ToolSignature) -> Iterator[Fault]:
    for key, declared in tool.parameters.items():
        here = path_of((key,), path)
        if key not in given:
            if declared.required:
                yield Fault(here, f"the tool requires {key!r} ({declared.type})")
        elif not _could_be(given[key], declared.type):
            yield Fault(here, f"the tool takes a value of type {declared.type} here")


def _could_be(value: Any, type_name: str) -> bool:
    """Whether a value of the playbook fits; what a template gives is only known when it is resolved."""
    try:
        template = templates.parse(value)
    except templates.TemplateError:
        return True
    return isinstance(template, templates.Placeholder) or is_of_type(value, type_name)


def _call_warnings(path: str, step: LeafStep, tools: Tools, sensitive: frozenset[str]) -> Iterator[Fault]:
    name = step.params.get("tool")
    tool = tools.get(name) if isinstance(name, str) else None
    parameters = step.params.get("parameters", {})
    if tool is None or not isinstance(parameters, Mapping):
        return
    for key, value in parameters.items():
        here = path_of((key,), f"{path}.params.parameters")
        if tool.parameters and key not in tool.parameters:
            yield Fault(here, f"the tool declares no parameter {key!r}; it is sent all the same")
        for placeholder in _placeholders(value):
            field = ".".join(placeholder.path[1:])
            if placeholder.scope == "exception" and field in sensitive and field not in tool.sensitiveFields:
                message = f"{field} is sensitive and reaches the tool masked, unless the tool's sensitiveFields list it"
                yield Fault(here, message)


def _placeholders(value: Any) -> list[templates.Placeholder]:
    try:
        return templates.placeholders(templates.parse(value))
    except templates.TemplateError:
        return []


def _template_faults(path: str, value: Any) -> Iterator[Fault]:
    try:
        templates.parse(value)
    except templates.TemplateError as error:
        yield Fault(path, str(error))
