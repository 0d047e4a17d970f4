"""Faults of form in plain words, each with its path."""

from __future__ import annotations

from pydantic import ValidationError

from service.domain.packs.faults import Fault, path_of

_IN_PLAIN_WORDS = {
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "extra_forbidden": "this key is not known, and without it the match would mean something else",
}
"""Messages for people, by pydantic's type of fault; the others speak for themselves."""


def form_faults(error: ValidationError, root: str = "") -> list[Fault]:
    """Everything that is wrong in form with what stands at `root`."""
    return [
        Fault(
            path_of((part for part in fault["loc"] if not _is_pydantics(part)), root),
            _IN_PLAIN_WORDS.get(fault["type"]) or _plain(fault["msg"]),
        )
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _is_pydantics(part: str | int) -> bool:
    """`[key]`, and the tags of tools' and steps' kinds: of the validator, not of the document."""
    return isinstance(part, str) and part.startswith("[") and part.endswith("]")


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")
