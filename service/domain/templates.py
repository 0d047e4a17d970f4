"""Templates in a playbook's parameters: `{{ exception.rawPayload.orderId }}` and `{exception.rawPayload.orderId}`.

A text that is one placeholder and nothing else takes the value with its JSON type; a placeholder inside a
longer text becomes text. Templates name fields, they compute nothing. Parsed once a pack, rendered once a plan;
what only a step's turn will tell (`{{ steps.getOrder.output.status }}`, `{{ item }}`) is left to `deferred`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.domain.exceptions import ExceptionRecord, Json

ROOTS = frozenset(
    {
        "exceptionId",
        "tenantId",
        "sourceSystem",
        "exceptionType",
        "severity",
        "confidence",
        "entity",
        "occurredAt",
        "receivedAt",
        "deadlineAt",
        "rawPayload",
    }
)
"""What can follow `exception.`; the snake_case spelling of each is accepted too."""

SCOPES = frozenset({"exception", "steps", "item", "index"})
"""What a placeholder can begin with: the exception; earlier results; inside a foreach its item and its index."""

ABOUT_EVENTS = frozenset({"exception", "event"})
"""What a placeholder can begin with where something is told of an event: `event.type`, `event.data.reason`."""

RESULT_PARTS = ("output", "state", "error", "by")
"""What can follow `steps.<key>.`."""

_PLACEHOLDER = re.compile(r"\{\{(?P<double>[^{}]*)\}\}|\{(?P<single>\s*exception\b[^{}]*)\}")
_PART = re.compile(r"[\w$@-]+")


class TemplateError(ValueError):
    """The template cannot be parsed; the message says why."""


class UnresolvedError(LookupError):
    """A placeholder names what is not there."""

    def __init__(self, expression: str, reason: str) -> None:
        super().__init__(reason)
        self.expression = expression
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A reference to one value: what it is looked up in, and the path inside that."""

    expression: str
    path: tuple[str, ...]
    scope: str = "exception"


@dataclass(frozen=True, slots=True)
class TextTemplate:
    parts: tuple[str | Placeholder, ...]


@dataclass(frozen=True, slots=True)
class ObjectTemplate:
    items: tuple[tuple[str, Template], ...]


@dataclass(frozen=True, slots=True)
class ListTemplate:
    items: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """A value without placeholders."""

    value: Any


Template = Placeholder | TextTemplate | ObjectTemplate | ListTemplate | Constant
"""A parsed JSON value with placeholders in its texts."""


def parse(value: Any, scopes: frozenset[str] = SCOPES) -> Template:
    """Parse every text inside a JSON value; placeholders may begin with `scopes`. Raises TemplateError."""
    if isinstance(value, str):
        return _parse_text(value, scopes)
    if isinstance(value, Mapping):
        items = tuple((key, parse(item, scopes)) for key, item in value.items())
        return _folded(value, ObjectTemplate(items), (item for _, item in items))
    if isinstance(value, Sequence):
        members = tuple(parse(item, scopes) for item in value)
        return _folded(value, ListTemplate(members), members)
    return Constant(value)


def placeholders(template: Template) -> list[Placeholder]:
    """Every field that the template names."""
    match template:
        case Placeholder():
            return [template]
        case TextTemplate(parts):
            return [part for part in parts if isinstance(part, Placeholder)]
        case ObjectTemplate(items):
            return [found for _, item in items for found in placeholders(item)]
        case ListTemplate(members):
            return [found for item in members for found in placeholders(item)]
    return []


def render(template: Template, view: Json) -> Any:
    """The value with its placeholders resolved in `view` (see `view_of`). Raises UnresolvedError."""
    match template:
        case Constant(value):
            return value
        case Placeholder():
            return _resolve(template, view)
        case TextTemplate(parts):
            return "".join(part if isinstance(part, str) else _as_text(_resolve(part, view)) for part in parts)
        case ObjectTemplate(items):
            return {key: render(item, view) for key, item in items}
        case ListTemplate(members):
            return [render(item, view) for item in members]


def view_of(record: ExceptionRecord, payload: Json) -> dict[str, Any]:
    """What placeholders see of an exception: JSON values; `payload` is the view of the payload they may read."""
    return {
        "exceptionId": str(record.exception_id),
        "tenantId": record.tenant_id,
        "sourceSystem": record.source_system,
        "exceptionType": record.exception_type,
        "severity": record.severity and record.severity.value,
        "confidence": record.confidence,
        "entity": record.entity,
        "occurredAt": record.occurred_at,
        "receivedAt": record.received_at,
        "deadlineAt": record.deadline_at,
        "rawPayload": payload,
    }


def resolve(placeholder: Placeholder, view: Any) -> Any:
    """The value in `view`, the placeholder's scope. Raises UnresolvedError."""
    return _resolve(placeholder, view)


def as_text(value: Any) -> str:
    """A JSON value as part of a text: texts as they are, everything else as JSON."""
    return _as_text(value)


def _folded(value: Any, parsed: Template, members: Any) -> Template:
    return Constant(value) if all(isinstance(member, Constant) for member in members) else parsed


def _parse_text(text: str, scopes: frozenset[str]) -> Template:
    parts: list[str | Placeholder] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        if found.start() > end:
            parts.append(_literal(text[end : found.start()]))
        parts.append(parse_placeholder(found["double"] if found["double"] is not None else found["single"], scopes))
        end = found.end()
    if end < len(text):
        parts.append(_literal(text[end:]))
    if not any(isinstance(part, Placeholder) for part in parts):
        return Constant(text)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        return parts[0]
    return TextTemplate(tuple(parts))


def _literal(text: str) -> str:
    if "{{" in text or "}}" in text:
        raise TemplateError(f"unmatched braces in {text.strip()[:60]!r}")
    return text


def parse_placeholder(expression: str, scopes: frozenset[str] = SCOPES) -> Placeholder:
    """What stands between the braces. Raises TemplateError."""
    expression = expression.strip()
    parts = expression.split(".")
    if parts[0] not in scopes:
        known = "`exception.`, `steps.`, `item` or `index`" if scopes is SCOPES else "`exception.` or `event.`"
        raise TemplateError(f"{{{{ {expression} }}}} must begin with {known}")
    if parts[0] != "exception":
        return _parse_later(expression, parts)
    if len(parts) < 2 or not all(_PART.fullmatch(part) for part in parts):
        raise TemplateError(f"{{{{ {expression} }}}} is not a path like `exception.rawPayload.orderId`")
    root = _camel(parts[1])
    if root not in ROOTS:
        raise TemplateError(
            f"{{{{ {expression} }}}}: an exception has no {parts[1]!r}; it has {', '.join(sorted(ROOTS))}"
        )
    if root != "rawPayload" and len(parts) > 2:
        raise TemplateError(f"{{{{ {expression} }}}}: {root} has no parts")
    return Placeholder(expression, (root, *parts[2:]))


def _parse_later(expression: str, parts: list[str]) -> Placeholder:
    scope, path = parts[0], tuple(parts[1:])
    if not all(_PART.fullmatch(part) for part in parts):
        raise TemplateError(f"{{{{ {expression} }}}} is not a path like `steps.getOrder.output.status`")
    if scope == "index" and path:
        raise TemplateError(f"{{{{ {expression} }}}}: index has no parts")
    if scope == "event" and path[:1] not in (("type",), ("data",)):
        raise TemplateError(f"{{{{ {expression} }}}} must be `event.type` or `event.data.` and a name")
    if scope == "steps" and (len(path) < 2 or path[1] not in RESULT_PARTS):
        known = ", ".join(RESULT_PARTS)
        raise TemplateError(f"{{{{ {expression} }}}} must be `steps.<key>.` and one of {known}")
    return Placeholder(expression, path, scope)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _resolve(placeholder: Placeholder, view: Json) -> Any:
    value: Any = view
    for depth, part in enumerate(placeholder.path):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, Sequence) and not isinstance(value, str) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise UnresolvedError(placeholder.expression, f"there is no {'.'.join(placeholder.path[: depth + 1])}")
    if value is None:
        raise UnresolvedError(placeholder.expression, f"{'.'.join(placeholder.path)} is null")
    return value.isoformat() if isinstance(value, datetime) else value


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
