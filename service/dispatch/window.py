"""How many batches of a lane are under way: pure bookkeeping that makes batches grow with load.

A lane sends at once while fewer than `limit` of its batches are under way. Beyond that its work gathers in
the outbox, so the next batch is larger: one exception alone waits for nothing, thousands travel by hundreds.
A batch whose end is never heard of (its notice was lost, a tool is slow) gives its place back after
`patience_seconds`; the window bounds load, it does not guard correctness.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class LaneWindow:
    """The batches of one lane that are under way, each with the time it stops counting."""

    limit: int
    patience_seconds: float
    _until: dict[str, float] = field(default_factory=dict)

    def free(self, now: float) -> int:
        """How many more batches may leave now."""
        for batch_id in [b for b, until in self._until.items() if until <= now]:
            del self._until[batch_id]
        return max(0, self.limit - len(self._until))

    def sent(self, batch_id: str, now: float) -> None:
        """A batch left."""
        self._until[batch_id] = now + self.patience_seconds

    def done(self, batch_id: str) -> None:
        """A batch came to its end. One that is not known (sent by an earlier holder, or heard twice) is ignored."""
        self._until.pop(batch_id, None)

    def next_release(self) -> float | None:
        """When the oldest batch under way stops counting; None when none is."""
        return min(self._until.values(), default=None)
