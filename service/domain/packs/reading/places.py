"""Where the parts of a text stand: from a path like `severityRules[2].condition` to a line."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

DEEPEST = 64
"""Levels of nesting that a pack may have."""

_NEWLINE = re.compile(r"\r\n|\r|\n")
_LAST_PART = re.compile(r"(\.[^.\[\]]*|\[[^\[\]]*\])$")


@dataclass(frozen=True, slots=True)
class Places:
    """The lines of a document's parts, by path; lines count from 1."""

    _ends: tuple[int, ...]
    """Where each line but the last ends."""
    _lines: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Places:
        """No part noted yet."""
        return cls(tuple(found.end() for found in _NEWLINE.finditer(text)))

    def line_at(self, offset: int) -> int:
        """The line of a character."""
        return bisect_right(self._ends, offset) + 1

    def note(self, path: str, offset: int) -> None:
        """A part begins at `offset`; of two with one path the first counts."""
        self._lines.setdefault(path, self.line_at(offset))

    def note_line(self, path: str, line: int) -> None:
        """As `note`, for a reader that counts lines itself."""
        self._lines.setdefault(path, line)

    def line_of(self, path: str) -> int | None:
        """The line of a part; of one that is missing, the line of what it should be in; None: the document."""
        while path:
            line = self._lines.get(path)
            if line is not None:
                return line
            shorter = _LAST_PART.sub("", path)
            path = "" if shorter == path else shorter
        return None
