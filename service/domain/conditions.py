"""Conditions of packs: CEL, compiled once, evaluated over one exception.

A condition ends in one of three ways: it matches, it does not, or it refers to a payload field that is
absent. The last counts as "does not match" but can be told apart, so that it can be counted and shown.
Everything else (a type error, an unknown function, a result that is not a boolean) fails the exception
with `ConditionFailedError`; it never silently matches and never silently doesn't.

Most of an evaluation's cost is turning the payload into CEL values, so a `Situation` does that once, and
only if some condition has to be evaluated at all: a condition that demands `exceptionType == 'X'` is
answered without CEL for every other type, and entirely when it demands nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import cel

from service.domain.conjuncts import compared_keys, payload_keys, required_types
from service.domain.errors import ConditionFailedError
from service.domain.exceptions import ExceptionRecord

LONGEST_CONDITION = 2_000
"""Characters. The CEL library recurses over the expression; tens of thousands of operands overflow its stack."""

VARIABLES = frozenset(
    {
        "exceptionType",
        "severity",
        "sourceSystem",
        "tenantId",
        "rawPayload",
        "entity",
        "ageMinutes",
        "slaMinutesRemaining",
        "policyTags",
    }
)
"""What a condition can refer to."""

FUNCTIONS = frozenset(
    {
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "type",
        "dyn",
        "timestamp",
        "duration",
        "getFullYear",
        "getMonth",
        "getDayOfYear",
        "getDayOfMonth",
        "getDate",
        "getDayOfWeek",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    }
)
"""Named functions of CEL that the library knows; operators are not listed."""

_BINDING_MACRO = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")


class Verdict(Enum):
    """How a condition ended."""

    MATCHES = "matches"
    DIFFERS = "differs"
    ABSENT = "absent"
    """It refers to a field that this exception does not have: counts as no match."""


class Situation:
    """One exception as conditions see it; the CEL context is built when it is first needed, and once."""

    __slots__ = (
        "_context",
        "_deadline_at",
        "_further",
        "_now",
        "_reads",
        "_record",
        "_severity",
        "_tags",
        "exception_type",
    )

    def __init__(
        self,
        record: ExceptionRecord,
        now: datetime,
        exception_type: str,
        severity: str | None,
        deadline_at: datetime,
        reads: frozenset[str] | None,
        tags: Callable[[], tuple[str, ...]] | tuple[str, ...] = (),
        further: Mapping[str, Any] | None = None,
    ) -> None:
        """Type, severity and deadline are what the asking stage takes them to be, not what the row says.

        `reads` are the payload's keys that the conditions to be judged read, by `keys_read`; None: any. `tags` are
        the policy tags, or how to find them when somebody asks. `further` are variables that only these conditions
        have: a plan's earlier results.
        """
        self.exception_type = exception_type
        self._record = record
        self._now = now
        self._severity = severity
        self._deadline_at = deadline_at
        self._reads = reads
        self._tags = tags
        self._further = further or {}
        self._context: cel.Context | None = None

    @property
    def policy_tags(self) -> tuple[str, ...]:
        """The tags that the packs' rules give this exception."""
        if callable(self._tags):
            self._tags = self._tags()
        return self._tags

    def present(self, keys: frozenset[str]) -> frozenset[str]:
        """Those of the payload's top-level keys that are there."""
        return frozenset(key for key in self._record.raw_payload if key in keys)

    @property
    def sla_minutes_remaining(self) -> float:
        """Until its deadline; negative when that is over."""
        return (self._deadline_at - self._now).total_seconds() / 60

    @property
    def context(self) -> cel.Context:
        """The variables as CEL values."""
        if self._context is None:
            record, now, payload = self._record, self._now, self._record.raw_payload
            if self._reads is not None:
                payload = {key: payload[key] for key in self._reads if key in payload}
            self._context = cel.Context(
                {
                    "exceptionType": self.exception_type,
                    "severity": self._severity,
                    "sourceSystem": record.source_system,
                    "tenantId": record.tenant_id,
                    "rawPayload": payload,
                    "entity": record.entity,
                    "ageMinutes": (now - record.received_at).total_seconds() / 60,
                    "slaMinutesRemaining": self.sla_minutes_remaining,
                    "policyTags": list(self.policy_tags),
                    **self._further,
                }
            )
        return self._context


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition and its place in the pack."""

    path: str
    source: str
    program: cel.Program
    types: frozenset[str] | None
    """It can only match exceptions of these types; None: any."""
    by_type_alone: bool
    """The type is all it asks for."""
    reads: frozenset[str] | None
    """The payload's top-level keys that it can read; None: it may look at the payload as a whole."""
    compares: frozenset[str] = frozenset()
    """Keys of which one has to be there, else it is absent for sure; empty: that cannot be told."""

    def judge(self, situation: Situation) -> Verdict:
        """Evaluate over one exception. Raises ConditionFailedError."""
        types = self.types
        if types is not None:
            if situation.exception_type not in types:
                return Verdict.DIFFERS
            if self.by_type_alone:
                return Verdict.MATCHES
        try:
            result = self.program.execute(situation.context)
        except LookupError:
            return Verdict.ABSENT
        except (TypeError, RuntimeError, ValueError, ArithmeticError) as error:
            raise ConditionFailedError(self.path, self.source, _reason(error)) from error
        if result is True:
            return Verdict.MATCHES
        if result is False:
            return Verdict.DIFFERS
        raise ConditionFailedError(self.path, self.source, f"it gives a {type(result).__name__}, not true or false")


def compile_condition(source: str, path: str) -> Condition:
    """Compile one condition. Raises ValueError with a message for people when it is not CEL."""
    if len(source) > LONGEST_CONDITION:
        raise ValueError(f"a condition may have {LONGEST_CONDITION} characters, this one has {len(source)}")
    try:
        program = cel.compile(source)
    except ValueError as error:
        raise ValueError(f"not a CEL expression: {_syntax_fault(error)}") from error
    demand = required_types(source)
    return Condition(path, source, program, demand.types, demand.alone, payload_keys(source), compared_keys(source))


def keys_read(conditions: Iterable[Condition]) -> frozenset[str] | None:
    """The payload's keys that any of the conditions can read; None: some may look at all of it."""
    keys: frozenset[str] = frozenset()
    for condition in conditions:
        if condition.reads is None:
            return None
        keys |= condition.reads
    return keys


def unknown_names(condition: Condition, known: frozenset[str] = VARIABLES) -> list[str]:
    """Variables and functions that are never there: to evaluate them fails the exception."""
    bound = set(_BINDING_MACRO.findall(condition.source))
    variables = set(condition.program.variables()) - known - bound
    functions = {name for name in condition.program.functions() if name.isidentifier()} - FUNCTIONS
    return sorted(f"variable {name!r}" for name in variables) + sorted(f"function {name!r}" for name in functions)


def _reason(error: Exception) -> str:
    """What went wrong, without the values it went wrong with: errors are seen by more people than payloads."""
    text = str(error)
    unknown = re.match(r"Undefined variable or function: '\w+'", text)
    if unknown:
        return unknown.group()
    function = re.match(r"Function '(\w+)' error", text)
    if function:
        return f"function {function[1]!r} does not accept its argument"
    if isinstance(error, TypeError):
        return "it compares or combines values of types that do not go together"
    if isinstance(error, ZeroDivisionError):
        return "division by zero"
    return "a number is too large" if isinstance(error, OverflowError) else "it cannot use one of the values"


def _syntax_fault(error: Exception) -> str:
    text = str(error)
    found = re.search(r"<input>:(\d+):(\d+): (.*?)(?:, expecting | expecting \{|\n|$)", text)
    if found is None:
        return text.splitlines()[0][:200]
    line, column, what = found.groups()
    return f"line {line}, column {column}: {what}"
