"""The first of many conditions that matches, found with few evaluations.

Going into CEL costs more than comparing two values there, so neighbouring conditions are compiled into one
program that gives the position of the first match. It gives an answer only if none of them fails on the way;
when one does (an absent field is enough) those conditions are asked one by one, which tells what failed.

Which fields are absent is known beforehand, and payloads come in few shapes. So the programs are made once for
each shape: without the conditions that have nothing to go by, and with those that may miss a field standing alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import cel

from service.domain.conditions import Condition, Situation, Verdict, keys_read

TOGETHER = 16
"""Conditions in one program. More save little, and lose more when one of them fails."""

MOST_SHAPES = 32
"""Shapes of payloads that programs are made for; those that come later are asked without knowing their shape."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The position of the first condition that matches, and of those before it that miss a field."""

    position: int | None
    absent: tuple[int, ...] = ()


_Placed = tuple[int, Condition]


@dataclass(frozen=True, slots=True)
class _Group:
    conditions: tuple[_Placed, ...]
    program: cel.Program | None
    """None for a single condition: it may be answered without CEL."""

    @classmethod
    def of(cls, conditions: tuple[_Placed, ...]) -> _Group:
        return cls(conditions, _program([condition for _, condition in conditions]) if len(conditions) > 1 else None)

    def find(self, situation: Situation) -> Selected:
        if self.program is not None:
            try:
                position = self.program.execute(situation.context)
            except (LookupError, TypeError, RuntimeError, ValueError, ArithmeticError):
                return self._one_by_one(situation)
            return Selected(None if position < 0 else self.conditions[position][0])
        return self._one_by_one(situation)

    def _one_by_one(self, situation: Situation) -> Selected:
        absent: list[int] = []
        for position, condition in self.conditions:
            verdict = condition.judge(situation)
            if verdict is Verdict.MATCHES:
                return Selected(position, tuple(absent))
            if verdict is Verdict.ABSENT:
                absent.append(position)
        return Selected(None, tuple(absent))


@dataclass(frozen=True, slots=True)
class _Course:
    """What to ask about payloads of one shape, and which conditions miss a field without being asked."""

    groups: tuple[_Group, ...]
    absent: tuple[int, ...] = ()

    def first_match(self, situation: Situation) -> Selected:
        absent: tuple[int, ...] = ()
        for group in self.groups:
            found = group.find(situation)
            absent += found.absent
            if found.position is not None:
                known = tuple(position for position in self.absent if position < found.position)
                return Selected(found.position, tuple(sorted(absent + known)))
        return Selected(None, tuple(sorted(absent + self.absent)) if self.absent else absent)


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions in their order of precedence, ready to be asked for the first that matches."""

    _conditions: tuple[Condition, ...]
    _whatever: _Course
    """For payloads of any shape."""
    reads: frozenset[str] | None
    """The payload's keys that they read; None: they may look at all of it."""
    _keys: frozenset[str]
    """The keys that make a shape."""
    _any_type: bool
    _courses: dict[frozenset[str], _Course] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, conditions: Sequence[Condition], any_type: bool = False) -> Selection:
        """Compile conditions for exceptions whose type each of them can match; `any_type`: for all exceptions."""
        reachable = tuple(conditions if any_type else _reachable(conditions))
        keys = frozenset(key for condition in reachable for key in condition.reads or ())
        return cls(reachable, _Course(tuple(_groups(enumerate(reachable)))), keys_read(reachable), keys, any_type)

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def first_match(self, situation: Situation) -> Selected:
        """Find it. Raises ConditionFailedError for the first condition that cannot be evaluated and is reached."""
        if not self._keys:
            return self._whatever.first_match(situation)
        present = situation.present(self._keys)
        course = self._courses.get(present)
        if course is None:
            course = self._whatever if present == self._keys else self._course(present)
        return course.first_match(situation)

    def _course(self, present: frozenset[str]) -> _Course:
        if len(self._courses) >= MOST_SHAPES:
            return self._whatever
        asked: list[_Placed] = []
        absent: list[int] = []
        for position, condition in enumerate(self._conditions):
            if self._has_nothing_to_go_by(condition, present):
                absent.append(position)
            else:
                asked.append((position, condition))
        made = _Course(tuple(_groups(asked, present)), tuple(absent))
        self._courses[present] = made
        return made

    def _has_nothing_to_go_by(self, condition: Condition, present: frozenset[str]) -> bool:
        if self._any_type and condition.types is not None:
            return False
        return bool(condition.compares) and not condition.compares & present


def _reachable(conditions: Sequence[Condition]) -> Iterator[Condition]:
    """Up to the first that asks for nothing but the type: it matches, so nothing after it is ever asked."""
    for condition in conditions:
        yield condition
        if condition.by_type_alone:
            return


def _groups(conditions: Iterable[_Placed], present: frozenset[str] | None = None) -> Iterator[_Group]:
    """Neighbours together; what reads a key that is not there alone, because it would spoil the answer of others."""
    together: list[_Placed] = []
    for position, condition in conditions:
        alone = present is not None and condition.reads is not None and not condition.reads <= present
        if together and (alone or len(together) == TOGETHER):
            yield _Group.of(tuple(together))
            together = []
        if alone:
            yield _Group.of(((position, condition),))
        else:
            together.append((position, condition))
    if together:
        yield _Group.of(tuple(together))


def _program(conditions: Sequence[Condition]) -> cel.Program:
    """The conditions as one expression; each ends its own line, because it may end in a comment."""
    expression = "-1"
    for position in range(len(conditions) - 1, -1, -1):
        expression = f"({conditions[position].source}\n) ? {position} : ({expression})"
    return cel.compile(expression)
