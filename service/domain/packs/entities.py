"""Whether a payload is what the pack says of its entity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Declared(Protocol):
    """What is declared of a field."""

    @property
    def type(self) -> str: ...
    @property
    def required(self) -> bool: ...


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
}


def is_of_type(value: Any, type_name: str) -> bool:
    """Whether a JSON value has a JSON type. A whole float is an integer; a boolean is no number."""
    if type_name == "any":
        return True
    if isinstance(value, bool):
        return type_name == "boolean"
    if type_name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[type_name])


def payload_faults(payload: Mapping[str, Any], attributes: Mapping[str, Declared]) -> list[str]:
    """Everything wrong with a payload, each with its path. Fields that are not declared are left alone."""
    faults = []
    for name, declared in attributes.items():
        value = payload.get(name)
        if value is None:
            if declared.required:
                faults.append(f"rawPayload.{name} is required ({declared.type}) and missing")
        elif not is_of_type(value, declared.type):
            faults.append(f"rawPayload.{name} must be of type {declared.type}, not {_type_name(value)}")
    return faults


def _type_name(value: Any) -> str:
    return next(
        (name for name in ("boolean", "string", "array", "object", "integer") if is_of_type(value, name)), "number"
    )
