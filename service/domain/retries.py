"""Retry policies: how often, and how patiently, a failure of a kind is tried again at a stage. Pure.

The table is here; packs override it key by key, and tools their own part of it. Who counts the attempts and sends the
next one is elsewhere. A permanent failure and a poisonous one are never tried again, whatever a pack says, and an
outage of infrastructure is nobody's attempt and has no policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from service.domain.exceptions import Stage
from service.errors import ErrorKind

_DOUBLINGS = 60
"""After so many doublings every backoff has long met its cap; beyond them a float would overflow."""

Override = Mapping[str, float]
"""Fields of a RetryPolicy that are different, by their names."""
Overrides = Mapping[ErrorKind, Override]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What becomes of a failure of one kind."""

    max_retries: int = 0
    """How often it is tried again after the first attempt."""
    backoff_seconds: float = 0.0
    """The wait before the first retry is at most this, before each further one at most twice as much."""
    max_backoff_seconds: float = 0.0
    """The cap of that."""
    max_retry_after_seconds: float = 0.0
    """The longest wait that somebody else may ask for."""

    def backoff(self, failed: int, jitter: float) -> float:
        """Seconds to wait after an attempt that `failed` others of its kind went before. `jitter`: 0 to 1.

        The whole of it is jittered, so that what failed together does not come back together.
        """
        ceiling = self.backoff_seconds * 2.0 ** min(failed, _DOUBLINGS)
        return min(self.max_backoff_seconds, ceiling) * jitter

    def overridden(self, override: Override) -> RetryPolicy:
        """The policy with some fields replaced."""
        return replace(self, **override) if override else self  # type: ignore[arg-type]  # the fields are checked


NEVER = RetryPolicy()
_PATIENT = RetryPolicy(max_retries=5, backoff_seconds=1, max_backoff_seconds=60)
_LIMITED = RetryPolicy(
    max_retries=20, backoff_seconds=5, max_backoff_seconds=300, max_retry_after_seconds=3_600
)  # fmt: skip

TABLE: Mapping[Stage, Mapping[ErrorKind, RetryPolicy]] = {
    stage: {
        ErrorKind.TRANSIENT: _PATIENT,
        ErrorKind.RATE_LIMITED: _LIMITED,
        ErrorKind.PERMANENT: NEVER,
        ErrorKind.POISON: NEVER,
    }
    for stage in Stage
} | {
    Stage.TOOL: {
        ErrorKind.TRANSIENT: RetryPolicy(max_retries=3, backoff_seconds=1, max_backoff_seconds=300),
        ErrorKind.RATE_LIMITED: _LIMITED,
        ErrorKind.PERMANENT: NEVER,
        ErrorKind.POISON: NEVER,
    }
}
"""The policies where no pack says otherwise."""


@dataclass(frozen=True, slots=True)
class RetryPolicies:
    """The policies of one pair of packs."""

    by_stage: Mapping[Stage, Mapping[ErrorKind, RetryPolicy]] = field(default_factory=lambda: TABLE)
    by_tool: Mapping[str, Mapping[ErrorKind, RetryPolicy]] = field(default_factory=dict)

    def of(self, stage: Stage, kind: ErrorKind) -> RetryPolicy:
        """The policy of a stage."""
        return self.by_stage[stage][kind]

    def of_call(self, tool: str, kind: ErrorKind, max_retries: int) -> RetryPolicy:
        """The policy of calls of a tool; of one that no pack defines (a notification), with its own limit."""
        known = self.by_tool.get(tool)
        if known is not None:
            return known[kind]
        policy = self.of(Stage.TOOL, kind)
        return replace(policy, max_retries=max_retries) if kind is ErrorKind.TRANSIENT else policy


DEFAULTS = RetryPolicies()


def overridden(policies: Mapping[ErrorKind, RetryPolicy], *overrides: Overrides) -> Mapping[ErrorKind, RetryPolicy]:
    """The policies with fields replaced; of several overrides a later one counts more."""
    found = dict(policies)
    for override in overrides:
        for kind, fields in override.items():
            found[kind] = found[kind].overridden(fields)
    return found


@dataclass(frozen=True, slots=True)
class Tries:
    """How often an exception has failed at its stage before, and how many of these were somebody's rate limit.

    The two are counted apart: a tool that is busy does not use up the tries of one that is broken.
    """

    failed: int = 0
    rate_limited: int = 0

    def of_kind(self, kind: ErrorKind) -> int:
        """Failures of the same kind before this one."""
        return self.rate_limited if kind is ErrorKind.RATE_LIMITED else self.failed - self.rate_limited

    def exhausted(self, kind: ErrorKind, policy: RetryPolicy) -> bool:
        """Whether one more failure of this kind is the last."""
        return self.of_kind(kind) >= policy.max_retries

    def allowed(self, kind: ErrorKind, policy: RetryPolicy) -> int:
        """The number of the last attempt there may be, if all that follow fail in this way."""
        return self.failed - self.of_kind(kind) + policy.max_retries + 1

    def after(self, kind: ErrorKind) -> Tries:
        """With one more failure."""
        return Tries(self.failed + 1, self.rate_limited + (kind is ErrorKind.RATE_LIMITED))


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a retry waits."""

    seconds: float
    asked_seconds: float | None = None
    """What somebody asked for with Retry-After."""
    capped: bool = False
    """They asked for more than the policy allows."""


def wait_before(policy: RetryPolicy, failed: int, jitter: float, asked_seconds: float | None = None) -> Wait:
    """The wait before the next attempt: never less than what was asked for, unless that is beyond the cap.

    `failed`: failures of this kind before this one; `jitter`: 0 to 1.
    """
    backoff = policy.backoff(failed, jitter)
    if asked_seconds is None:
        return Wait(backoff)
    # On top of what was named: whoever was told the same time does not come back at the same moment.
    named = min(asked_seconds, policy.max_retry_after_seconds)
    return Wait(named + backoff, asked_seconds, capped=named < asked_seconds)
