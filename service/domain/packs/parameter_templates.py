"""Templates in a tool's own definition: `{{ parameters.orderId }}`, and nothing else.

A tool sees what its playbook gave it and never the exception, so that who reads a tool knows what leaves
the house. A text that is one placeholder takes the parameter with its JSON type; inside a longer text it
becomes text. A member of an object or list whose whole value is a parameter that was not given is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.parts import Attribute

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_PATH = re.compile(r"parameters((?:\.[\w$@-]+)+)")
_ABSENT: Any = object()


class ParameterMissingError(LookupError):
    """A text of the definition needs a parameter that was not given; the message is its name."""


def rendered(template: Any, parameters: Mapping[str, Any]) -> Any:
    """A JSON value with its placeholders filled in. Raises ParameterMissingError."""
    value = _value(template, parameters)
    return None if value is _ABSENT else value


def rendered_text(template: str, parameters: Mapping[str, Any]) -> str | None:
    """A text with its placeholders filled in; None: it is one parameter and that was not given."""
    value = _text(template, parameters)
    return None if value is _ABSENT else as_text(value)


def rendered_path(template: str, parameters: Mapping[str, Any]) -> str:
    """A URL path in which every value is percent-encoded as one segment.

    Raises ParameterMissingError, also for a value that would be another path: nothing, `.` or `..`.
    """

    def segment(found: re.Match[str]) -> str:
        value = _found(found[1], parameters)
        text = "" if value is _ABSENT else as_text(value)
        if text in ("", ".", ".."):
            raise ParameterMissingError(found[1])
        return quote(text, safe="")

    return _PLACEHOLDER.sub(segment, template)


def template_faults(
    path: str, template: Any, declared: Mapping[str, Attribute], *, whole: bool = True
) -> Iterator[Fault]:
    """What is wrong with a template, given the parameters the tool declares.

    `whole`: an optional parameter may stand alone, for then its place is left out.
    """
    if isinstance(template, str):
        yield from _text_faults(path, template, declared, whole)
    elif isinstance(template, Mapping):
        for key, item in template.items():
            yield from template_faults(path_of((str(key),), path), item, declared)
    elif isinstance(template, list | tuple):
        for index, item in enumerate(template):
            yield from template_faults(f"{path}[{index}]", item, declared)


def as_text(value: Any) -> str:
    """A JSON value as part of a text: texts as they are, everything else as JSON."""
    return (
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    )


def _value(template: Any, parameters: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        return _text(template, parameters)
    if isinstance(template, Mapping):
        members = ((key, _value(item, parameters)) for key, item in template.items())
        return {key: item for key, item in members if item is not _ABSENT}
    if isinstance(template, list | tuple):
        return [item for item in (_value(item, parameters) for item in template) if item is not _ABSENT]
    return template


def _text(template: str, parameters: Mapping[str, Any]) -> Any:
    whole = _PLACEHOLDER.fullmatch(template)
    if whole is not None:
        return _found(whole[1], parameters)

    def part(found: re.Match[str]) -> str:
        value = _found(found[1], parameters)
        if value is _ABSENT:
            raise ParameterMissingError(found[1])
        return as_text(value)

    return _PLACEHOLDER.sub(part, template)


def _found(expression: str, parameters: Mapping[str, Any]) -> Any:
    value: Any = parameters
    for name in expression.split(".")[1:]:
        if isinstance(value, Mapping) and value.get(name) is not None:
            value = value[name]
        elif isinstance(value, list | tuple) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _ABSENT
    return value


def _text_faults(path: str, text: str, declared: Mapping[str, Attribute], whole: bool) -> Iterator[Fault]:
    alone = whole and _PLACEHOLDER.fullmatch(text) is not None
    rest = _PLACEHOLDER.sub("", text)
    if "{{" in rest or "}}" in rest:
        yield Fault(path, f"unmatched braces in {text.strip()[:60]!r}")
    for expression in _PLACEHOLDER.findall(text):
        found = _PATH.fullmatch(expression)
        name = found[1].split(".")[1] if found else None
        if name is None:
            yield Fault(
                path, f"{{{{ {expression} }}}} is not a path like `parameters.orderId`: a tool sees nothing else"
            )
        elif name not in declared:
            yield Fault(path, f"{{{{ {expression} }}}}: the tool declares no parameter {name!r}")
        elif not alone and not declared[name].required:
            yield Fault(path, f"{{{{ {expression} }}}} is inside a text, so {name!r} has to be required")
