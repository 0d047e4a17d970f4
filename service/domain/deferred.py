"""Values of a plan that only a step's turn will tell, as the plan's document writes them.

What a template takes from the exception is put in when the plan is made. What it takes from earlier results, from
a foreach's item, or from sensitive fields that may not stand in a plan, is written as a reference:

    {"$ref": "steps.getOrder.output.status"}            the value itself
    {"$text": ["order ", {"$ref": "item"}, " is late"]}  inside a text
    {"$literal": …}                                     JSON that would look like one of these, and is none
    {"$object": [[key, value], …]}                      an object with such a key, and references inside

So a value that came from a payload is never read as a template, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.domain.templates import (
    Constant,
    ListTemplate,
    ObjectTemplate,
    Placeholder,
    Template,
    TextTemplate,
    as_text,
    parse_placeholder,
)

LATER = object()
"""What `Look` gives for a value that is not known yet."""

Look = Callable[[Placeholder], Any]
"""Looks a placeholder's value up. Raises UnresolvedError for what is not there."""

_REF, _TEXT, _LITERAL, _OBJECT = "$ref", "$text", "$literal", "$object"
_MARKS = frozenset({_REF, _TEXT, _LITERAL, _OBJECT})


def written(template: Template, look: Look) -> Any:
    """The value with what is known put in, and references for the rest."""
    match template:
        case Constant(value):
            return _literal(value)
        case Placeholder():
            value = look(template)
            return {_REF: template.expression} if value is LATER else _literal(value)
        case TextTemplate(parts):
            return _text([part if isinstance(part, str) else _part(part, look(part)) for part in parts])
        case ObjectTemplate(items):
            members = [(key, written(item, look)) for key, item in items]
            return {_OBJECT: [list(m) for m in members]} if _MARKS & dict(members).keys() else dict(members)
        case ListTemplate(members):
            return [written(item, look) for item in members]


def completed(value: Any, look: Look) -> Any:
    """What `written` wrote, with every reference looked up."""
    if isinstance(value, Mapping):
        if len(value) == 1:
            (mark,) = value
            if mark in _MARKS:
                return _marked(mark, value[mark], look)
        return {key: completed(item, look) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [completed(item, look) for item in value]
    return value


def _marked(mark: str, content: Any, look: Look) -> Any:
    if mark == _REF:
        return look(parse_placeholder(content))
    if mark == _TEXT:
        parts = (p if isinstance(p, str) else as_text(look(parse_placeholder(p[_REF]))) for p in content)
        return "".join(parts)
    if mark == _OBJECT:
        return {key: completed(item, look) for key, item in content}
    return content


def _part(placeholder: Placeholder, value: Any) -> Any:
    return {_REF: placeholder.expression} if value is LATER else as_text(value)


def _text(parts: list[Any]) -> Any:
    return "".join(parts) if all(isinstance(part, str) for part in parts) else {_TEXT: parts}


def _literal(value: Any) -> Any:
    return {_LITERAL: value} if _has_mark(value) else value


def _has_mark(value: Any) -> bool:
    if isinstance(value, Mapping):
        return not _MARKS.isdisjoint(value) or any(map(_has_mark, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_mark, value))
