"""One tree of errors. The class says what the pipeline does with a failure; the message says what a person can do.

Every failure is one of three: it may pass (`TransientError`: retried), it will not (`PermanentError`:
dead-lettered at once), or it cannot even be read (`PoisonError`: kept with its bytes). Nothing else is
raised across a package's border. Messages never carry a secret or a payload.
"""

from __future__ import annotations

from enum import StrEnum


class SentinaiError(Exception):
    """Something went wrong, and the message says what to do about it."""

    names: tuple[str, ...] = ()
    """What the message quotes and what belongs to the cause, not to one exception: a condition or tool of a pack."""


class TransientError(SentinaiError):
    """It may work later: retried with backoff."""


class RateLimitedError(TransientError):
    """Somebody asked us to come back later: retried at the time they named, or with a longer backoff."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """When they will take us again, in seconds; None: they did not say."""


class InfrastructureUnavailableError(TransientError):
    """PostgreSQL, Kafka or Redis is away. Not the exception's fault: the work waits and uses up no attempt."""


class PermanentError(SentinaiError):
    """It will fail again: dead-lettered at once."""


class PoisonError(SentinaiError):
    """It cannot be read: kept with its bytes, and the partition goes on."""


class ConfigurationError(PermanentError):
    """A setting is missing or wrong; the message names the variable."""


class ErrorKind(StrEnum):
    """What a failure is to the pipeline: retry policies and dead letters are told apart by it."""

    TRANSIENT = "transient"
    RATE_LIMITED = "rate_limited"
    PERMANENT = "permanent"
    POISON = "poison"


def kind_of(error: SentinaiError) -> ErrorKind:
    """The kind of an error of this tree. An outage of infrastructure is no failure and is not asked about."""
    if isinstance(error, RateLimitedError):
        return ErrorKind.RATE_LIMITED
    if isinstance(error, TransientError):
        return ErrorKind.TRANSIENT
    return ErrorKind.POISON if isinstance(error, PoisonError) else ErrorKind.PERMANENT
