"""One partition, from the moment it is assigned to this process until it is taken away.

An assignment is the epoch that fences late work: when the partition leaves, the assignment is retired, and whatever
still refers to it (an acknowledgement of a task that took too long) has no effect any more.
"""

from __future__ import annotations

import threading

from .offsets import Ledger, Progress


class Assignment:
    """A partition's ledger with its lock and its life. Used by the owning thread and by whoever acknowledges."""

    def __init__(self, topic: str, partition: int, committed: int | None, metadata: str | None) -> None:
        self.topic = topic
        self.partition = partition
        self._lock = threading.Lock()
        self._ledger = Ledger(committed, metadata)
        self._live = True
        self._sent: Progress | None = None
        self.committed = -1 if committed is None else committed
        """Lowest offset that a restart would read again, as confirmed by the broker; -1 before the first commit."""

    def __repr__(self) -> str:
        return f"{self.topic}[{self.partition}]"

    @property
    def live(self) -> bool:
        """False once the partition was taken away."""
        return self._live

    def starts_again(self, offset: int) -> bool:
        """Tell whether the log was reset below us (its topic was deleted and made again)."""
        with self._lock:
            return self._ledger.is_behind(offset)

    def receive(self, offset: int) -> bool:
        """See :meth:`Ledger.receive`."""
        with self._lock:
            return self._ledger.receive(offset)

    def hand_out(self, offset: int) -> bool:
        """See :meth:`Ledger.hand_out`."""
        with self._lock:
            return self._ledger.hand_out(offset)

    def finish(self, offset: int) -> bool:
        """Note that ``offset`` is done. False when the partition has left: the work may be done again elsewhere."""
        with self._lock:
            return self._live and self._ledger.finish(offset)

    def retire(self) -> None:
        """Fence everything that comes later."""
        with self._lock:
            self._live = False

    def to_commit(self) -> Progress | None:
        """Return progress that was not sent yet, and count it as sent."""
        with self._lock:
            progress = self._ledger.progress()
            if progress is None or progress == self._sent:
                return None
            self._sent = progress
            return progress

    def progress(self) -> Progress | None:
        """Return what could be committed now."""
        with self._lock:
            return self._ledger.progress()

    def commit_failed(self) -> None:
        """Send the progress again next time."""
        with self._lock:
            self._sent = None

    def commit_done(self, offset: int) -> None:
        """Note that the broker has the commit."""
        self.committed = max(self.committed, offset)
