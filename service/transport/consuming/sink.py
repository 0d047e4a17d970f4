"""What a group consumer hands its records to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from ..errors import TransportError
from ..records import Arrival
from .assignments import Assignment


class Sink(Protocol):
    """What receives a consumer's records. Called by the consumer's thread only."""

    looks_for_room: float
    """Seconds between two looks at :meth:`congested` while something is paused, if :meth:`turn` asks for no other."""

    def accept(self, assignment: Assignment, arrival: Arrival) -> None:
        """Take a record that needs work; later someone calls ``assignment.finish(offset)``."""

    def accepted(self) -> None:
        """A batch of records was accepted."""

    def congested(self) -> Collection[object]:
        """Topics, or (topic, partition) pairs, that shall be paused now."""

    def turn(self) -> float:
        """Do what is due; return the seconds until the next turn is wanted."""

    def leaving(self, assignments: Collection[Assignment], patience: float) -> None:
        """Hand out nothing more of these, and wait at most ``patience`` seconds for what is out."""

    def left(self, assignments: Collection[Assignment]) -> None:
        """Forget these: they were retired."""

    def holds(self, topic: str) -> bool:
        """Tell whether work of this topic is still out."""

    def failed(self, error: TransportError) -> None:
        """The consumer has stopped because of this."""
