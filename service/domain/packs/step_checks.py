"""What is wrong with a playbook's step, given the tools it may call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.domain import templates
from service.domain.exceptions import Status
from service.domain.packs.entities import is_of_type
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.playbooks import ActionType, Step
from service.domain.packs.tools import ToolSignature

ENDS = (Status.RESOLVED, Status.ESCALATED)
"""What a step may set the status to: the ends that a plan can decide. Everything else follows from its course."""

_TEXT_PARAMETER = {ActionType.ASSIGN_OWNER: "owner", ActionType.ADD_COMMENT: "text"}

Tools = Mapping[str, ToolSignature | None]
"""The domain's tools by name; None for one whose own definition has faults. None altogether: not known here."""


def step_faults(path: str, step: Step, tools: Tools | None) -> Iterator[Fault]:
    """Everything wrong with a step whose form is right."""
    match step.action_type:
        case ActionType.SET_STATUS:
            if step.params.get("status") not in ENDS:
                yield Fault(f"{path}.params.status", f"must be one of {', '.join(ENDS)}")
        case ActionType.ASSIGN_OWNER | ActionType.ADD_COMMENT:
            yield from _text_faults(path, step, _TEXT_PARAMETER[step.action_type])
        case ActionType.CALL_TOOL:
            yield from _call_faults(path, step, tools)
        case ActionType.MANUAL:
            yield from _template_faults(f"{path}.params", step.params)


def step_warnings(path: str, step: Step, tools: Tools | None, sensitive: frozenset[str]) -> Iterator[Fault]:
    """What a step says in vain, or that its author may not have meant."""
    known = {
        ActionType.SET_STATUS: {"status"},
        ActionType.ASSIGN_OWNER: {"owner"},
        ActionType.ADD_COMMENT: {"text"},
        ActionType.CALL_TOOL: {"tool", "parameters"},
        ActionType.MANUAL: {"instructions"},
    }
    if step.action_type is None:
        return
    for key in step.params.keys() - known[step.action_type]:
        yield Fault(path_of((key,), f"{path}.params"), f"{step.action_type} knows no {key!r}; it has no effect")
    if step.action_type is not ActionType.CALL_TOOL or tools is None:
        return
    tool = tools.get(step.params["tool"])
    parameters = step.params.get("parameters", {})
    if tool is None:
        return
    for key, value in parameters.items():
        here = path_of((key,), f"{path}.params.parameters")
        if tool.parameters and key not in tool.parameters:
            yield Fault(here, f"the tool declares no parameter {key!r}; it is sent all the same")
        for placeholder in templates.placeholders(templates.parse(value)):
            field = ".".join(placeholder.path[1:])
            if field in sensitive and field not in tool.sensitiveFields:
                yield Fault(
                    here,
                    f"{field} is sensitive and reaches the tool masked, unless the tool's sensitiveFields list it",
                )


def _text_faults(path: str, step: Step, name: str) -> Iterator[Fault]:
    text = step.params.get(name)
    here = f"{path}.params.{name}"
    if not isinstance(text, str) or not text.strip():
        yield Fault(here, f"{step.action_type} needs {name!r}, a text")
    else:
        yield from _template_faults(here, text)


def _call_faults(path: str, step: Step, tools: Tools | None) -> Iterator[Fault]:
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


def _template_faults(path: str, value: Any) -> Iterator[Fault]:
    try:
        templates.parse(value)
    except templates.TemplateError as error:
        yield Fault(path, str(error))
