"""Circuit breakers, one for each tenant's tool, shared by all workers through Redis.

A tool that keeps failing is not called for a while; then one call, the probe, finds out whether it works again.
The state machine and its storage are pybreaker's. What is added: nobody waits for Redis (a look is at most once a
second and a tool, and while Redis is away every breaker counts as closed), and half-open lets one call through in
the whole fleet, by a key that expires.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreaker, CircuitBreakerError, CircuitRedisStorage
from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How long what was seen of a breaker is taken for true. A process learns that late of another's failures."""

REDIS_TIMEOUT_SECONDS = 0.25
REDIS_PAUSE_SECONDS = 5.0
"""After Redis did not answer, it is left alone for this long: calls go on as if every breaker were closed."""

NAMESPACE = "sentinai:breaker"

Clock = Callable[[], float]
Name = tuple[str, str]
"""Tenant and tool."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long."""

    failures: int
    """Failed calls in a row, seen by any worker."""
    open_seconds: float


@dataclass(frozen=True, slots=True)
class Passage:
    """What a breaker says about calls that are about to go out."""

    open: bool = True
    """Any number may."""
    probe: bool = False
    """One may; the others wait."""
    reason: str = ""
    seconds: float = 0.0
    """When to come back, at the earliest."""


PASS = Passage()


class Breakers(Protocol):
    """Says whether a tool may be called, and is told how it went."""

    def passage(self, name: Name, probe_seconds: float) -> Passage:
        """May it be called? A probe that is granted is this caller's for `probe_seconds`."""
        ...

    def record(self, name: Name, *, succeeded: int, failed: int) -> None:
        """So many calls were answered well, so many failed."""
        ...

    def record_probe(self, name: Name, *, succeeded: bool) -> None:
        """How the probe went."""
        ...

    def release_probe(self, name: Name) -> None:
        """The probe did not go out after all."""
        ...


class NoBreakers:
    """Every tool may always be called."""

    def passage(self, name: Name, probe_seconds: float) -> Passage:  # noqa: ARG002 - the port's
        """It may."""
        return PASS

    def record(self, name: Name, *, succeeded: int, failed: int) -> None:
        """Nothing is kept."""

    def record_probe(self, name: Name, *, succeeded: bool) -> None:
        """Nothing is kept."""

    def release_probe(self, name: Name) -> None:
        """There is none."""


@dataclass(slots=True)
class _Seen:
    """What was last seen of a breaker."""

    state: str
    failures: int
    opened_at: float
    """By the wall clock; 0.0: never."""
    at: float


class RedisBreakers:
    """Breakers in Redis. Safe for several threads; opens no connection before it is used, so it survives a fork."""

    def __init__(
        self, redis: Redis, policy: BreakerPolicy, clock: Clock = time.monotonic, wall: Clock = time.time
    ) -> None:
        """`redis` has short timeouts of its own: see `connect`."""
        self._redis = redis
        self._policy = policy
        self._clock = clock
        self._wall = wall
        self._lock = Lock()
        self._breakers: dict[Name, CircuitBreaker] = {}
        self._storages: dict[Name, CircuitRedisStorage] = {}
        self._seen: dict[Name, _Seen] = {}
        self._away_until = 0.0
        # pybreaker logs a traceback for every command that fails; one line an outage is said here.
        logging.getLogger("pybreaker").setLevel(logging.CRITICAL)

    def passage(self, name: Name, probe_seconds: float) -> Passage:
        """See Breakers. Costs a look at Redis once a second; a probe's key besides."""
        with self._lock:
            seen = self._look(name)
            if seen.state == STATE_CLOSED:
                return PASS
            left = seen.opened_at + self._policy.open_seconds - self._wall()
            if seen.state == STATE_OPEN and left > 0:
                return Passage(open=False, reason=self._why(name, "is open"), seconds=left)
            if self._ask(lambda: self._claim_probe(name, probe_seconds), default=True):
                self._seen.pop(name, None)
                return Passage(open=False, probe=True, reason=self._why(name, "waits for its probe"), seconds=1.0)
            return Passage(open=False, reason=self._why(name, "waits for its probe"), seconds=1.0)

    def record(self, name: Name, *, succeeded: int, failed: int) -> None:
        """See Breakers. Free while all goes well: Redis is only told of failures, and of the success that ends them.

        While a breaker is not closed only its probe counts: late answers say how the tool was, not how it is.
        """
        with self._lock:
            seen = self._look(name)
            if seen.state != STATE_CLOSED or not (failed or seen.failures):
                return
            if succeeded:
                # Within one group the order of answers means nothing, so a single success ends the row.
                self._told(name, succeeded=True)
                return
            for _ in range(min(failed, self._policy.failures)):
                self._told(name, succeeded=False)

    def record_probe(self, name: Name, *, succeeded: bool) -> None:
        """See Breakers."""
        with self._lock:
            self._told(name, succeeded=succeeded)
            self._drop_probe(name)
        log.warning("the probe of %s of tenant %s %s", name[1], name[0], "worked" if succeeded else "failed")

    def release_probe(self, name: Name) -> None:
        """See Breakers."""
        with self._lock:
            self._drop_probe(name)

    def _look(self, name: Name) -> _Seen:
        now = self._clock()
        seen = self._seen.get(name)
        if seen is None or now - seen.at >= LOOK_SECONDS:
            seen = self._ask(lambda: self._read(name), default=None) or _Seen(STATE_CLOSED, 0, 0.0, now)
            self._seen[name] = seen
        return seen

    def _read(self, name: Name) -> _Seen:
        breaker = self._breaker(name)
        state = breaker.current_state
        opened_at = self._storages[name].opened_at if state == STATE_OPEN else None
        return _Seen(state, breaker.fail_counter, opened_at.timestamp() if opened_at else 0.0, self._clock())

    def _told(self, name: Name, *, succeeded: bool) -> None:
        self._ask(lambda: self._tell(name, succeeded=succeeded), default=None)
        self._seen.pop(name, None)

    def _tell(self, name: Name, *, succeeded: bool) -> None:
        breaker = self._breaker(name)
        was = breaker.current_state
        with suppress(_CallFailedError, CircuitBreakerError):
            breaker.call(_succeed if succeeded else _fail)
        if breaker.current_state != was:
            log.warning("breaker of %s of tenant %s: %s, was %s", name[1], name[0], breaker.current_state, was)

    def _claim_probe(self, name: Name, seconds: float) -> bool:
        if not self._redis.set(_probe_key(name), "1", nx=True, px=max(1, int(seconds * 1000))):
            return False
        breaker = self._breaker(name)
        if breaker.current_state == STATE_OPEN:
            breaker.half_open()
        return True

    def _drop_probe(self, name: Name) -> None:
        self._ask(lambda: self._redis.delete(_probe_key(name)), default=None)

    def _breaker(self, name: Name) -> CircuitBreaker:
        breaker = self._breakers.get(name)
        if breaker is None:
            storage = CircuitRedisStorage(STATE_CLOSED, self._redis, namespace=f"{NAMESPACE}:{name[0]}:{name[1]}")
            self._storages[name] = storage
            breaker = self._breakers[name] = CircuitBreaker(
                fail_max=self._policy.failures, reset_timeout=self._policy.open_seconds, state_storage=storage
            )
        return breaker

    def _ask(self, question: Callable[[], Any], default: Any) -> Any:
        """What Redis says; the default when it is away. pybreaker hides errors, so a ping asks first."""
        now = self._clock()
        if now < self._away_until:
            return default
        try:
            self._redis.ping()
            return question()
        except RedisError as error:
            log.warning("Redis is away (%s): every tool counts as working", type(error).__name__)
            self._away_until = now + REDIS_PAUSE_SECONDS
            return default

    def _why(self, name: Name, how: str) -> str:
        return f"the circuit breaker of tool {name[1]!r} {how} after {self._policy.failures} failed calls in a row"


def connect(url: str) -> Redis:
    """A client that never makes a stage wait long. Connects when it is first used."""
    return Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS)


class _CallFailedError(Exception):
    """What pybreaker is shown of a failed call."""


def _succeed() -> None:
    """What pybreaker is shown of a call that worked."""


def _fail() -> None:
    raise _CallFailedError


def _probe_key(name: Name) -> str:
    return f"{NAMESPACE}:{name[0]}:{name[1]}:probe"
