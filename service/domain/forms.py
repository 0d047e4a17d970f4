"""Forms: what a person has to answer when completing a step, as JSON Schema, and whether an answer is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

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


def answer_faults(form: Mapping[str, Any], answer: Any) -> list[str]:
    """What is wrong with an answer, each with its place; empty: nothing. The values themselves are not told."""
    errors = _validator(orjson.dumps(form, option=orjson.OPT_SORT_KEYS)).iter_errors(answer)
    try:
        found = list(islice(errors, _MOST_FAULTS))
    except RecursionError:
        return ["output: the form refers to itself without end"]
    return sorted(
        f"{'.'.join(('output', *map(str, error.absolute_path)))}: "
        f"{_in_words(str(error.validator), error.validator_value, error.message)}"
        for error in found
    )


@lru_cache(maxsize=256)
def _validator(form: bytes) -> Draft202012Validator:
    registry: Registry[Any] = Registry()  # Nothing is fetched.
    return Draft202012Validator(orjson.loads(form), registry=registry)


def _in_words(rule: str, expected: Any, message: str) -> str:
    """A fault without the value that has it: answers may hold what not everybody may see."""
    if rule in ("required", "additionalProperties", "dependentRequired"):
        return message
    return f"does not meet {rule} {orjson.dumps(expected).decode()[:200]}"


def _references(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef"):
                yield (*path, key), item
            yield from _references(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, (*path, index))
