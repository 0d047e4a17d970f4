"""Regular expressions whose time is linear in the text, whatever the expression and whatever the text (RE2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2


class ExpressionError(ValueError):
    """The text is not a regular expression that RE2 can run; the message says why."""


@lru_cache(maxsize=1_024)
def compile_expression(source: str) -> Any:
    """A compiled expression, with the methods of the standard library's. Raises ExpressionError."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(source, options)
    except re2.error as error:
        [reason, *_] = error.args or ("",)
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ExpressionError(f"not a regular expression of RE2: {told}") from error


def searchable(text: str) -> str:
    """The text as RE2 takes it: halves of surrogate pairs are question marks, everything else is where it was."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
