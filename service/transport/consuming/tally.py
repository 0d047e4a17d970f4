"""How much of a partition is unfinished, from its log's bounds and the group's commit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .offsets import Islands, Progress, read_islands


@dataclass(frozen=True, slots=True)
class Tally:
    """A partition counted."""

    low: int
    """First offset the log has."""
    end: int
    """Next offset to be written."""
    committed: int | None
    first: int
    """The lowest unfinished offset; the end, when everything is finished."""
    lag: int
    """How many messages are unfinished."""
    islands: Islands
    """What is finished above ``first``."""


def tally(low: int, end: int, commit: Progress | None) -> Tally:
    """Count what is unfinished.

    What retention or a purge deleted no longer waits. A commit beyond the end belongs to a topic that was deleted
    and made anew: its consumers begin at the beginning.
    """
    if commit is None or commit.offset > end:
        return Tally(low, end, commit.offset if commit is not None else None, low, end - low, Islands())
    islands = read_islands(commit.offset, commit.metadata)
    first = max(low, commit.offset)
    finished = 0
    for begin, last in islands.spans:
        if begin <= first <= last:
            first = last + 1
        elif begin > first:
            finished += max(0, min(last, end - 1) - begin + 1)
    first = min(first, end)
    return Tally(low, end, commit.offset, first, max(0, end - first - finished), islands)
