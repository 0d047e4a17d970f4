"""Sensitive patterns: regular expressions of a pack on the names or the values of fields.

They are run by RE2, whose time is linear in the text whatever the expression: a pack cannot stall a worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from service.domain.detectors import MASK
from service.domain.expressions import compile_expression, searchable

_MOST_NAMES = 4_096
"""Names of fields whose answer is remembered: the same few come again with every payload."""


@dataclass(frozen=True, slots=True)
class Patterns:
    """A pack's expressions: names of fields that are masked as a whole, and parts of values that are."""

    _keys: tuple[Any, ...] = ()
    _values: tuple[Any, ...] = ()
    _names: dict[str, bool] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, keys: Iterable[str] = (), values: Iterable[str] = ()) -> Patterns:
        """Compile expressions. Raises ExpressionError."""
        return cls(tuple(map(compile_expression, keys)), tuple(map(compile_expression, values)))

    def __bool__(self) -> bool:
        return bool(self._keys or self._values)

    def names(self, name: str) -> bool:
        """Whether a field of this name is sensitive."""
        known = self._names.get(name)
        if known is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            known = self._names[name] = any(key.search(searchable(name)) is not None for key in self._keys)
        return known

    def masked(self, text: str) -> str:
        """The text with every part masked that an expression finds."""
        for pattern in self._values:
            if pattern.search(searchable(text)) is not None:
                text = MASK.join(_without_matches(pattern, piece) for piece in text.split(MASK))
        return text


def _without_matches(pattern: Any, text: str) -> str:
    parts, end = [], 0
    for found in pattern.finditer(searchable(text)):
        if found.end() > found.start():
            parts += [text[end : found.start()], MASK]
            end = found.end()
    return "".join([*parts, text[end:]])
