"""Conditions written as objects, `{"field": "amount", "operator": ">", "value": 1000}`, as the CEL they stand for.

A field is one of the variables of conditions, or else a path into rawPayload. `{"all": […]}`, `{"any": […]}` and
`{"not": …}` join them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from service.domain.conditions import VARIABLES

_COMPARING = {
    "==": "==", "=": "==", "eq": "==", "equals": "==", "equal": "==", "is": "==",
    "!=": "!=", "<>": "!=", "ne": "!=", "neq": "!=", "notequals": "!=", "notequal": "!=", "isnot": "!=",
    ">": ">", "gt": ">", "greaterthan": ">",
    ">=": ">=", "gte": ">=", "ge": ">=", "atleast": ">=",
    "<": "<", "lt": "<", "lessthan": "<",
    "<=": "<=", "lte": "<=", "le": "<=", "atmost": "<=",
}  # fmt: skip
_CALLING = {"contains": "contains", "startswith": "startsWith", "endswith": "endsWith", "matches": "matches"}
_JOINING = {"all": " && ", "and": " && ", "any": " || ", "or": " || "}
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_RESERVED = re.compile(
    "as|break|const|continue|else|false|for|function|if|import|in|let|loop|null|package|namespace|return|true|var|void"
    "|while"
)
_VARIABLES = {re.sub(r"[^a-z]", "", name.lower()): name for name in VARIABLES}


class SimpleConditionError(ValueError):
    """The object is no condition; the message says why."""


def to_cel(condition: Mapping[str, Any]) -> str:
    """The condition as CEL. Raises SimpleConditionError."""
    given = {_plain(str(key)): value for key, value in condition.items()}
    for name, joint in _JOINING.items():
        if name in given:
            _only(given, {name})
            return joint.join(f"({_inner(part)})" for part in _list(given[name], name))
    if "not" in given:
        _only(given, {"not"})
        return f"!({_inner(given['not'])})"
    _only(given, {"field", "path", "operator", "op", "value"})
    field = given.get("field", given.get("path"))
    if not isinstance(field, str) or not field.strip():
        raise SimpleConditionError("needs `field`, the name of a field")
    return _comparison(_reference(field.strip()), str(given.get("operator", given.get("op", "=="))), given)


def _comparison(field: str, written: str, given: Mapping[str, Any]) -> str:
    operator = _plain(written) or written.strip()
    if operator in ("exists", "present"):
        return _present(field) if given.get("value", True) else f"!{_present(field)}"
    if operator in ("absent", "missing", "notexists"):
        return f"!{_present(field)}"
    if "value" not in given:
        raise SimpleConditionError("needs `value`")
    value = _literal(given["value"])
    if operator in _COMPARING:
        return f"{field} {_COMPARING[operator]} {value}"
    if operator in _CALLING:
        return f"{field}.{_CALLING[operator]}({value})"
    if operator in ("in", "oneof", "notin", "noneof"):
        _list(given["value"], "value")
        return f"!({field} in {value})" if operator.startswith("no") else f"{field} in {value}"
    known = "== != > >= < <= in not_in contains starts_with ends_with matches exists absent"
    raise SimpleConditionError(f"there is no operator {written!r}; these are known: {known}")


def _reference(field: str) -> str:
    """`customer.taxId` as CEL reads it."""
    first, *rest = field.removeprefix("$.").split(".")
    variable = _VARIABLES.get(_plain(first))
    text = variable if variable is not None else f"rawPayload{_member(first)}"
    return text + "".join(map(_member, rest))


def _member(name: str) -> str:
    if _IDENTIFIER.fullmatch(name) and not _RESERVED.fullmatch(name):
        return f".{name}"
    return f"[{_literal(int(name) if name.isdecimal() else name)}]"


def _present(field: str) -> str:
    if field in VARIABLES:
        return f"({field} != null)"
    if not field.endswith("]"):
        return f"has({field})"
    raise SimpleConditionError("only a field whose name is an identifier can be asked whether it exists")


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        raise SimpleConditionError("cannot compare with an object")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _inner(part: Any) -> str:
    if isinstance(part, Mapping):
        return to_cel(part)
    if isinstance(part, str) and part.strip():
        return f"{part}\n"
    raise SimpleConditionError("each part is CEL or an object like the whole")


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise SimpleConditionError(f"`{name}` needs a list")
    return list(value)


def _only(given: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        raise SimpleConditionError(f"knows no {', '.join(map(repr, unknown))} here")


def _plain(name: str) -> str:
    return name.strip() if name.strip() in _COMPARING else re.sub(r"[^a-z]", "", name.lower())
