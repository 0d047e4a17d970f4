"""One tree of errors. The class says what the pipeline does with a failure; the message says what a person can do.

Every failure is one of three: it may pass (`TransientError`: retried), it will not (`PermanentError`:
dead-lettered at once), or it cannot even be read (`PoisonError`: kept with its bytes). Nothing else is
raised across a package's border. Messages never carry a secret or a payload.
"""

from __future__ import annotations


class SentinaiError(Exception):
    """Something went wrong, and the message says what to do about it."""


class TransientError(SentinaiError):
    """It may work later: retried with backoff."""


class InfrastructureUnavailableError(TransientError):
    """PostgreSQL, Kafka or Redis is away. Not the exception's fault: the work waits and uses up no attempt."""


class PermanentError(SentinaiError):
    """It will fail again: dead-lettered at once."""


class PoisonError(SentinaiError):
    """It cannot be read: kept with its bytes, and the partition goes on."""


class ConfigurationError(PermanentError):
    """A setting is missing or wrong; the message names the variable."""
