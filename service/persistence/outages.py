"""PostgreSQL away: what that is called, and a breaker that keeps one process from asking it in vain.

The breaker's states are pybreaker's. What is added is that nobody waits for another (a lock held during a call would
make threads queue up for the database), and that time is the monotonic clock's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Lock

from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreaker, CircuitBreakerError
from sqlalchemy import Engine

from service.errors import InfrastructureUnavailableError

log = logging.getLogger(__name__)

OPEN_SECONDS = 0.5
"""Between two looks whether it is back. A look is one transaction of one thread of the process."""

LOOK_SECONDS = 15.0
"""A look that has not ended after this (a connection that hangs) does not keep others from looking."""


class DatabaseUnavailableError(InfrastructureUnavailableError):
    """PostgreSQL cannot be reached or broke off."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"PostgreSQL is not available ({cause}); check DATABASE_URL and that the server runs")
        self.cause = cause


class TransactionAbortedError(InfrastructureUnavailableError):
    """PostgreSQL works, and gave this transaction up in favour of others. Nobody's fault: it is worked again."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"PostgreSQL gave the transaction up ({cause}); it is worked again by itself")


class OutageBreaker:
    """Open while PostgreSQL is away; one look at a time finds out. Safe for several threads, one for a process."""

    def __init__(self, open_seconds: float = OPEN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        # That it opens at the first failure costs little: a look follows within half a second.
        self._breaker = CircuitBreaker(fail_max=1, reset_timeout=open_seconds)
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = Lock()
        self._cause = ""
        self._away_since = self._look_at = 0.0

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Around one transaction, which is not even begun while PostgreSQL is known to be away.

        Raises DatabaseUnavailableError then. A DatabaseUnavailableError from inside says that it is away; whatever
        else comes from there, PostgreSQL has answered.
        """
        self._ask()
        try:
            yield
        except DatabaseUnavailableError as error:
            self._failed(error.cause)
            raise
        except BaseException:
            self._answered()
            raise
        self._answered()

    def _ask(self) -> None:
        if self._breaker.current_state == STATE_CLOSED:
            return
        with self._lock:
            state, now = self._breaker.current_state, self._clock()
            if state == STATE_CLOSED:
                return
            if now < self._look_at:
                raise DatabaseUnavailableError(self._cause)
            if state == STATE_OPEN:
                self._breaker.half_open()
            self._look_at = now + LOOK_SECONDS

    def _answered(self) -> None:
        if self._breaker.current_state == STATE_CLOSED:
            return
        with self._lock:
            if self._breaker.current_state != STATE_CLOSED:
                self._breaker.close()
                log.warning("PostgreSQL is back after %.1f s", self._clock() - self._away_since)

    def _failed(self, cause: str) -> None:
        with self._lock:
            now = self._clock()
            if self._breaker.current_state == STATE_CLOSED:
                self._away_since = now
                log.warning("PostgreSQL is away, and work waits: %s", cause)
            with suppress(_AwayError, CircuitBreakerError):
                self._breaker.call(_away)
            self._cause, self._look_at = cause, now + self._open_seconds


def guarding(engine: Engine) -> AbstractContextManager[None]:
    """Around one transaction of an engine: its breaker's guard, if it was opened with one."""
    breaker: OutageBreaker | None = engine.get_execution_options().get("breaker")
    return nullcontext() if breaker is None else breaker.guarding()


class _AwayError(Exception):
    """What pybreaker is shown of a transaction that found no server."""


def _away() -> None:
    raise _AwayError
