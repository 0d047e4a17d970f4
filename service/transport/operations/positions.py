"""Moving a consumer group's position: where each partition goes, and what that means. The plan is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..cluster import Cluster
from ..consuming import committed
from ..consuming.offsets import Progress, backward, forward, read_islands
from ..consuming.tally import Tally
from ..inspection.reader import Place


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one partition."""

    place: Place
    at: int
    """Where the group would go on now."""
    to: int
    skipped: int
    """Unfinished messages that will not be run."""
    repeated: int
    """Finished messages that will be run again."""
    commit: Progress


def plan(place: Place, counted: Tally, commit: Progress | None, offset: int) -> Step | None:
    """Decide how a partition gets to ``offset``, or as near as its log allows. None: it stays where it is.

    Forward, what was finished above stays finished. Backward, everything is run again, whether it was finished or not.
    """
    current = commit if commit is not None and commit.offset <= counted.end else Progress(counted.low, "")
    to = min(max(offset, counted.low), counted.end)
    if to == current.offset or (to <= counted.first and to > current.offset):
        return None
    if to > current.offset:
        moved = forward(current, to)
        skipped = counted.lag - _unfinished(moved, counted.end)
        return Step(place, counted.first, moved.offset, skipped, 0, moved)
    islands = read_islands(current.offset, current.metadata)
    finished = max(0, current.offset - to) + sum(
        last - max(first, to) + 1 for first, last in islands.spans if last >= max(to, counted.low)
    )
    return Step(place, counted.first, to, 0, finished, backward(current, to))


def apply(cluster: Cluster, group: str, steps: list[Step]) -> None:
    """Write the new positions.

    Raises:
        KafkaException: the cluster refuses, because somebody has joined the group meanwhile, for instance.
    """
    committed.commit(cluster, group, {step.place: step.commit for step in steps})


def targets(text: tuple[str, ...], places: Mapping[Place, Tally]) -> dict[Place, int]:
    """Read ``PARTITION:OFFSET`` pairs.

    Raises:
        ValueError: one is not of that form, or names a partition that is not there.
    """
    by_number = {place[1]: place for place in places}
    found = {}
    for pair in text:
        partition, colon, offset = pair.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{pair!r} is not PARTITION:OFFSET")
        if int(partition) not in by_number:
            raise ValueError(f"there is no partition {partition}; there are {len(by_number)}, from 0")
        found[by_number[int(partition)]] = int(offset)
    return found


def _unfinished(commit: Progress, end: int) -> int:
    islands = read_islands(commit.offset, commit.metadata)
    finished = sum(max(0, min(last, end - 1) - first + 1) for first, last in islands.spans)
    return max(0, end - commit.offset - finished)
