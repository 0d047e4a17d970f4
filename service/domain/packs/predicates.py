"""Success predicates: what a tool's answer has to say for its call to count as done. CEL over the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cel

from service.domain.conditions import compile_condition, unknown_names

VARIABLES = frozenset({"status", "headers", "body"})
"""What a predicate can refer to: the HTTP status, the headers by lower-case name, the body as JSON."""


class PredicateUndecidedError(ValueError):
    """The predicate cannot be evaluated over this answer; the message repeats nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """A compiled predicate."""

    source: str
    program: cel.Program

    def holds(self, status: int, headers: Mapping[str, str], body: Any) -> bool:
        """Whether the answer says that the call was worked. Raises PredicateUndecidedError."""
        try:
            result = self.program.execute(cel.Context({"status": status, "headers": dict(headers), "body": body}))
        except LookupError:
            raise PredicateUndecidedError("has not the fields that `success` reads") from None
        except (TypeError, RuntimeError, ValueError, ArithmeticError):
            raise PredicateUndecidedError("has values that `success` cannot use") from None
        if not isinstance(result, bool):
            raise PredicateUndecidedError("makes `success` neither true nor false")
        return result


@lru_cache(maxsize=512)
def compile_predicate(source: str) -> Predicate:
    """Compile a predicate. Raises ValueError with a message for people."""
    compiled = compile_condition(source, "success")
    strangers = unknown_names(compiled, VARIABLES)
    if strangers:
        raise ValueError(f"there is no {strangers[0]}; success sees {', '.join(sorted(VARIABLES))}")
    return Predicate(source, compiled.program)
