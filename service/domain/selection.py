"""The first of many conditions that matches, found with few evaluations.

Going into CEL costs more than comparing two values there, so neighbouring conditions are compiled into one
program that gives the position of the first match. It gives an answer only if none of them fails on the way;
when one does (an absent field is enough) those conditions are asked one by one, which tells what failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cel

from service.domain.conditions import Condition, Situation, Verdict, keys_read

TOGETHER = 16
"""Conditions in one program. More save little, and lose more when one of them fails."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The position of the first condition that matches, and of those before it that miss a field."""

    position: int | None
    absent: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    start: int
    conditions: tuple[Condition, ...]
    program: cel.Program | None
    """None for a single condition: it may be answered without CEL."""

    @classmethod
    def of(cls, start: int, conditions: tuple[Condition, ...]) -> _Group:
        return cls(start, conditions, _program(conditions) if len(conditions) > 1 else None)

    def find(self, situation: Situation) -> Selected:
        if self.program is not None:
            try:
                position = self.program.execute(situation.context)
            except (LookupError, TypeError, RuntimeError, ValueError, ArithmeticError):
                return self._one_by_one(situation)
            return Selected(None if position < 0 else self.start + position)
        return self._one_by_one(situation)

    def _one_by_one(self, situation: Situation) -> Selected:
        absent: list[int] = []
        for position, condition in enumerate(self.conditions, self.start):
            verdict = condition.judge(situation)
            if verdict is Verdict.MATCHES:
                return Selected(position, tuple(absent))
            if verdict is Verdict.ABSENT:
                absent.append(position)
        return Selected(None, tuple(absent))


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions in their order of precedence, ready to be asked for the first that matches."""

    _groups: tuple[_Group, ...]
    reads: frozenset[str] | None
    """The payload's keys that they read; None: they may look at all of it."""

    @classmethod
    def of(cls, conditions: Sequence[Condition], any_type: bool = False) -> Selection:
        """Compile conditions for exceptions whose type each of them can match; `any_type`: for all exceptions."""
        reachable = tuple(conditions if any_type else _reachable(conditions))
        starts = range(0, len(reachable), TOGETHER)
        groups = tuple(_Group.of(start, reachable[start : start + TOGETHER]) for start in starts)
        return cls(groups, keys_read(reachable))

    def __bool__(self) -> bool:
        return bool(self._groups)

    def first_match(self, situation: Situation) -> Selected:
        """Find it. Raises ConditionFailedError for the first condition that cannot be evaluated and is reached."""
        absent: tuple[int, ...] = ()
        for group in self._groups:
            found = group.find(situation)
            absent += found.absent
            if found.position is not None:
                return Selected(found.position, absent)
        return Selected(None, absent)


def _reachable(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Up to the first that asks for nothing but the type: it matches, so nothing after it is ever asked."""
    for condition in conditions:
        yield condition
        if condition.by_type_alone:
            return


def _program(conditions: Sequence[Condition]) -> cel.Program:
    """The conditions as one expression; each ends its own line, because it may end in a comment."""
    expression = "-1"
    for position in range(len(conditions) - 1, -1, -1):
        expression = f"({conditions[position].source}\n) ? {position} : ({expression})"
    return cel.compile(expression)
