"""JSON with its places: the value a text says, and the line on which each part of it stands.

The standard library's parser says what is not JSON. What JSON leaves open and a pack may not hold is told
here, each with its place: a name said twice, a number that is none, a text that no database stores.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.reading.places import DEEPEST, Places

_GAP = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def read_json(text: str) -> tuple[Any, Places, list[Fault]]:
    """The value, the lines of its parts, and what is wrong with it; a text that is not JSON has no value."""
    places = Places.of(text)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return None, places, [Fault("", f"not JSON: {error.msg}, column {error.colno}", error.lineno)]
    except (RecursionError, ValueError):
        return None, places, [Fault("", f"nested deeper than {DEEPEST} levels, or a number of thousands of digits")]
    reader = _Reader(text, places)
    value, _ = reader.value(_after_gap(text, 0), "", 0)
    return value, places, reader.faults


class _Reader:
    """Reads a text that is known to be JSON."""

    def __init__(self, text: str, places: Places) -> None:
        self._text = text
        self._places = places
        self.faults: list[Fault] = []

    def value(self, start: int, path: str, depth: int) -> tuple[Any, int]:
        """The value that begins at `start`, and where it ends."""
        opening = self._text[start]
        if opening in "{[" and depth >= DEEPEST:
            self._tell(path, f"nested deeper than {DEEPEST} levels", start)
            return None, self._skipped(start)
        if opening == "{":
            return self._object(start, path, depth)
        if opening == "[":
            return self._list(start, path, depth)
        value, end = _DECODER.raw_decode(self._text, start)
        problem = unstorable(value)
        if problem is not None:
            self._tell(path, problem, start)
        return value, end

    def _object(self, start: int, path: str, depth: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        text, at = self._text, _after_gap(self._text, start + 1)
        while text[at] != "}":
            at = _after_gap(text, at + 1) if text[at] == "," else at
            key, end = _DECODER.raw_decode(text, at)
            here = path_of((key,), path)
            if key in members:
                self._tell(here, f"{key!r} is said twice; its first line is {self._places.line_of(here)}", at)
            else:
                self._places.note(here, at)
            value, end = self.value(_after_gap(text, _after_gap(text, end) + 1), here, depth + 1)
            members.setdefault(key, value)
            at = _after_gap(text, end)
        return members, at + 1

    def _list(self, start: int, path: str, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        text, at = self._text, _after_gap(self._text, start + 1)
        while text[at] != "]":
            at = _after_gap(text, at + 1) if text[at] == "," else at
            here = f"{path}[{len(items)}]"
            self._places.note(here, at)
            item, end = self.value(at, here, depth + 1)
            items.append(item)
            at = _after_gap(text, end)
        return items, at + 1

    def _skipped(self, start: int) -> int:
        return _DECODER.raw_decode(self._text, start)[1]

    def _tell(self, path: str, message: str, at: int) -> None:
        self.faults.append(Fault(path, message, self._places.line_at(at)))


def unstorable(value: Any) -> str | None:
    """Why a scalar cannot be part of a pack; None: it can."""
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a number that JSON knows (NaN, Infinity, or too large)"
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return "is a whole number beyond 64 bits, which would be rounded; write it as a text"
    if isinstance(value, str) and ("\x00" in value or not _is_unicode(value)):
        return "holds a NUL character or half of a surrogate pair, which cannot be stored"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _after_gap(text: str, at: int) -> int:
    found = _GAP.match(text, at)
    return at if found is None else found.end()
