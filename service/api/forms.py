"""The answer that a person gives to a step's form, checked against the form: JSON Schema, draft 2020-12."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from service.domain.packs.faults import Fault, path_of

_NOTHING_ELSEWHERE: Registry[Any] = Registry()
"""A form may refer to itself. Nothing is looked up elsewhere, least of all over the network."""


def answer_faults(form: Mapping[str, Any], answer: Any) -> list[Fault]:
    """What of the answer the form does not allow, each with its path, like `answer.amount`; values are not repeated."""
    validator = Draft202012Validator(dict(form), registry=_NOTHING_ELSEWHERE)
    try:
        found = [fault for error in validator.iter_errors(answer) for fault in _faults(error)]
    except Unresolvable:
        return [Fault("answer", "cannot be checked: the step's form refers to a schema that is not there")]
    return sorted(found, key=lambda fault: fault.path)


def _faults(error: ValidationError) -> Iterator[Fault]:
    place = tuple(error.absolute_path)
    rule, wanted = error.validator, error.validator_value
    if rule == "additionalProperties" and wanted is False:
        given: Any = error.instance
        for name in sorted(set(given) - set(_properties(error))):
            yield Fault(path_of(("answer", *place, name)), "is not known here")
    elif rule == "required":
        yield Fault(path_of(("answer", *place, _missing(error))), "is required")
    else:
        yield Fault(path_of(("answer", *place)), _told(str(rule), wanted))


def _properties(error: ValidationError) -> Mapping[str, Any]:
    schema: Any = error.schema
    known: Mapping[str, Any] = schema.get("properties", {})
    return known


def _missing(error: ValidationError) -> str:
    """The member that this error is about: the validator makes one error for each that is missing."""
    wanted: Any = error.validator_value
    given: Any = error.instance
    return str(next(name for name in wanted if name not in given and error.message.startswith(repr(name))))


def _told(rule: str, wanted: Any) -> str:
    """What is wrong in words that do not repeat what was sent."""
    match rule:
        case "type":
            return f"must be of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "enum":
            return f"must be one of {', '.join(map(repr, wanted))}"
        case "const":
            return f"must be {wanted!r}"
        case _ if isinstance(wanted, str | int | float):
            return f"must keep to {rule} {wanted}"
        case _:
            return f"does not keep to the form's {rule}"
