"""Forms: what a person has to answer when completing a step, as JSON Schema, and whether an answer is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from service.domain.packs.faults import Fault, path_of

LARGEST_FORM = 20_000
"""Bytes of a form's JSON."""

_MOST_FAULTS = 20


def form_faults(form: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with a form: where inside it, and what."""
    if not isinstance(form, Mapping):
        yield (), "must be an object, a JSON Schema"
        return
    if len(orjson.dumps(form)) > LARGEST_FORM:
        yield (), f"a form may have {LARGEST_FORM} bytes"
        return
    try:
        Draft202012Validator.check_schema(form)
    except SchemaError as error:
        yield tuple(error.absolute_path), f"not a JSON Schema: {error.message[:200]}"
        return
    resolver = Registry[Any]().resolver_with_root(DRAFT202012.create_resource(form))
    for path, reference in _references(form):
        if not isinstance(reference, str) or not reference.startswith("#"):
            yield path, "a form refers to itself only (#/$defs/…)"
            continue
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield path, f"there is no {reference}"


def answer_faults(form: Mapping[str, Any], answer: Any, root: str) -> list[Fault]:
    """What is wrong with an answer, each with its place below `root`; empty: nothing. Values are not repeated."""
    errors = _validator(orjson.dumps(form, option=orjson.OPT_SORT_KEYS)).iter_errors(answer)
    try:
        found = [fault for error in islice(errors, _MOST_FAULTS) for fault in _faults(error, root)]
    except RecursionError:
        return [Fault(root, "cannot be checked: the form refers to itself without end")]
    except Unresolvable:
        return [Fault(root, "cannot be checked: the form refers to a schema that is not there")]
    return sorted(found, key=lambda fault: fault.path)


@lru_cache(maxsize=256)
def _validator(form: bytes) -> Draft202012Validator:
    registry: Registry[Any] = Registry()  # Nothing is fetched.
    return Draft202012Validator(orjson.loads(form), registry=registry)


def _faults(error: ValidationError, root: str) -> Iterator[Fault]:
    place, rule, wanted = tuple(error.absolute_path), str(error.validator), error.validator_value
    given: Any = error.instance
    if rule == "additionalProperties" and wanted is False:
        for name in sorted(set(given) - set(_properties(error))):
            yield Fault(path_of((*place, name), root), "is not known here")
    elif rule == "required":
        yield Fault(path_of((*place, _missing(error)), root), "is required")
    else:
        yield Fault(path_of(place, root), _in_words(rule, wanted))


def _properties(error: ValidationError) -> Mapping[str, Any]:
    schema: Any = error.schema
    known: Mapping[str, Any] = schema.get("properties", {})
    return known


def _missing(error: ValidationError) -> str:
    """The member that this error is about: the validator makes one error for each that is missing."""
    wanted: Any = error.validator_value
    given: Any = error.instance
    return str(next(name for name in wanted if name not in given and error.message.startswith(repr(name))))


def _in_words(rule: str, wanted: Any) -> str:
    """A fault without the value that has it: answers may hold what not everybody may see."""
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


def _references(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef"):
                yield (*path, key), item
            yield from _references(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, (*path, index))
