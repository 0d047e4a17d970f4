"""The offset ledger of one partition: what arrived, what is finished, what may be committed. Pure.

Kafka keeps one number per partition: everything below it is done. Tasks finish in any order, so the number that
may be committed is the *watermark*, the lowest unfinished offset. What is finished above it forms *islands*; they
travel in the commit's metadata, so that after a crash only what was unfinished is run again.

Metadata is ``k1;<reached>;<runs>``. ``reached`` is how far beyond the watermark messages were handed out (those may
have been seen by a worker before), ``runs`` are lengths, alternating unfinished and finished, from the watermark on.
All numbers are in base 36. Metadata that is not ours, or is damaged, counts as "no islands".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass

METADATA_LIMIT = 4000
"""Bytes of metadata. The broker refuses more than ``offset.metadata.max.bytes``, 4,096 by default. When there are more
islands than fit (500 to 1,000), the longest are kept; what is finished in the others runs again after a crash."""

_METADATA = re.compile(r"k1;([0-9a-z]+);((?:[0-9a-z]+,[0-9a-z]+(?:,|$))*)")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Progress:
    """What to commit: start again at ``offset``, and skip what ``metadata`` says is finished."""

    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class Islands:
    """What a commit's metadata says. Offsets are absolute; spans are ``[first, last]``."""

    spans: tuple[tuple[int, int], ...] = ()
    reached: int = -1

    def __contains__(self, offset: int) -> bool:
        place = bisect_right(self.spans, offset, key=_first) - 1
        return place >= 0 and offset <= self.spans[place][1]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)


class Ledger:
    """Offsets of one partition during one assignment. Not thread-safe: its owner locks."""

    def __init__(self, committed: int | None = None, metadata: str | None = None) -> None:
        self._next = committed
        self._islands = read_islands(committed, metadata) if committed is not None else Islands()
        self._unfinished: OrderedDict[int, None] = OrderedDict()
        self._reached = self._islands.reached

    def is_behind(self, offset: int) -> bool:
        """Tell whether ``offset`` was passed already; within one assignment offsets only rise."""
        return self._next is not None and offset < self._next

    def receive(self, offset: int) -> bool:
        """Note that ``offset`` arrived; offsets may skip but must rise. False when it needs no work."""
        if self.is_behind(offset):
            return False
        self._next = offset + 1
        if offset in self._islands:
            return False
        self._unfinished[offset] = None
        return True

    def hand_out(self, offset: int) -> bool:
        """Note that a worker gets ``offset``. True when a worker may have had it before."""
        seen = offset <= self._islands.reached
        self._reached = max(self._reached, offset)
        return seen

    def finish(self, offset: int) -> bool:
        """Note that ``offset`` is done. False when it was not open."""
        return self._unfinished.pop(offset, self) is None

    @property
    def watermark(self) -> int | None:
        """The lowest offset that is not finished; None when nothing is known."""
        return next(iter(self._unfinished), self._next)

    @property
    def unfinished(self) -> int:
        """How many offsets are open."""
        return len(self._unfinished)

    def progress(self) -> Progress | None:
        """Return what may be committed now; None when nothing is known."""
        start, end = self.watermark, self._next
        if start is None or end is None:
            return None
        spans = _gaps(list(self._unfinished), end)
        spans += [(max(first, end), last) for first, last in self._islands.spans if last >= end]
        return Progress(start, _write(start, self._reached, spans))


def _first(span: tuple[int, int]) -> int:
    return span[0]


def read_islands(committed: int, metadata: str | None) -> Islands:
    """Read what a commit at offset ``committed`` says about the offsets above it."""
    match = _METADATA.fullmatch(metadata or "")
    if match is None:
        return Islands()
    lengths = [int(number, 36) for number in match[2].split(",") if number]
    spans, at = [], committed
    for unfinished, finished in zip(lengths[::2], lengths[1::2], strict=True):
        first = at + unfinished
        at = first + finished
        spans.append((first, at - 1))
    return Islands(tuple(spans), committed - 1 + int(match[1], 36))


def forward(commit: Progress, offset: int) -> Progress:
    """Return the commit of a group that shall go on at ``offset``; what it finished above stays finished."""
    islands, start = read_islands(commit.offset, commit.metadata), offset
    spans = []
    for first, last in islands.spans:
        if first > start:
            spans.append((first, last))
        else:
            start = max(start, last + 1)
    return Progress(start, _write(start, islands.reached, spans))


def backward(commit: Progress, offset: int) -> Progress:
    """Return the commit of a group that shall do all from ``offset`` on again; it is known to have seen it."""
    reached = max(commit.offset - 1, read_islands(commit.offset, commit.metadata).reached)
    return Progress(offset, _write(offset, reached, []))


def _gaps(unfinished: list[int], end: int) -> list[tuple[int, int]]:
    """Spans of finished offsets between unfinished ones, up to ``end`` (exclusive)."""
    following = [*unfinished[1:], end]
    return [(low + 1, high - 1) for low, high in zip(unfinished, following, strict=False) if high - low > 1]


def _write(start: int, reached: int, spans: list[tuple[int, int]]) -> str:
    head, runs = f"k1;{_base36(max(0, reached - start + 1))};", _runs(start, spans)
    while len(head) + len(runs) > METADATA_LIMIT:
        # What does not fit is run again after a crash: let it be as little as possible, so the longest islands stay.
        fit = len(spans) * (METADATA_LIMIT - len(head)) // len(runs)
        longest = sorted(spans, key=lambda span: span[0] - span[1])[: min(fit, len(spans) - 1)]
        spans = sorted(longest)
        runs = _runs(start, spans)
    return head + runs


def _runs(start: int, spans: list[tuple[int, int]]) -> str:
    text, at = [], start
    for first, last in spans:
        text.append(f"{_base36(first - at)},{_base36(last - first + 1)}")
        at = last + 1
    return ",".join(text)


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
