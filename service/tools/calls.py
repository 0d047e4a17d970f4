"""What the engine and a tool client say to each other: calls, results, and the port between them.

The client tells what is known about a call's effect. What follows from it (retry, dead letter, asking a
person) and the effect ledger are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from service.domain.plans import ToolCall
from service.tools.egress import NO_RULES, EgressRules


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """One call that is due, with the key under which its effect happens once."""

    key: str
    """The idempotency key: the same on every delivery."""
    tenant_id: str
    call: ToolCall
    egress: EgressRules = NO_RULES
    """What the tenant's pack says about where its tools may be called."""


class Answer(Enum):
    """What is known about a call's effect."""

    CONFIRMED = "confirmed"
    """The tool worked it."""
    TRANSIENT = "transient"
    """It may be sent again: the tool did not work it, or ignores a repeated key."""
    PERMANENT = "permanent"
    """The tool did not work it and sending it again would change nothing."""
    UNANSWERED = "unanswered"
    """It went out and nobody knows whether the tool worked it: a person decides."""
    NOT_SENT = "not_sent"
    """It never left this process, for a limit was reached: it waits and is nobody's attempt."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of one call."""

    key: str
    answer: Answer
    output: Mapping[str, Any] | None = None
    """What a CONFIRMED call returned; None when the tool returned nothing. At most 1 MiB of JSON."""
    error: str | None = None
    """For people, when not CONFIRMED: never a secret, a parameter or the body of an answer."""
    retry_after_seconds: float | None = None
    """What the tool asked for with `Retry-After`."""
    rate_limited: bool = False
    """A TRANSIENT answer that said: too many calls, or not before a time that it named."""
    duration_seconds: float = 0.0
    """From sending to the answer; for an item of a batch, of the whole request."""


class ToolClient(Protocol):
    """Calls tools."""

    def results(self, calls: Sequence[PreparedCall]) -> Iterator[list[ToolResult]]:
        """Make the calls at once and yield their results in groups as they arrive.

        Each key comes exactly once, whatever happens to its call. Abandoning the iterator abandons the calls
        that are still under way.
        """
        ...

    def close(self) -> None:
        """Give back the connections. Calls under way are abandoned."""
        ...
