"""How many exceptions a tenant may send: counted in Redis, across all API processes.

The rate is the tenant pack's `rateLimitPerSecond`, else the installation's. Without Redis nobody is
limited: exceptions are accepted as long as they can be kept, and the log says so once per outage.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError
from sqlalchemy import Engine

from service.api.problems import RATE_LIMITED, ProblemError
from service.persistence.queries import tenant_rate
from service.persistence.unit_of_work import unit_of_work

LARGEST_REQUEST = 1000
"""The most exceptions of one request. A window is long enough to let one such request through."""
_REDIS_TIMEOUT_SECONDS = 0.25
_PAUSE_SECONDS = 5.0
"""After Redis failed it is left alone this long, so that its outage does not slow every request down."""
_log = logging.getLogger(__name__)


class TenantRates:
    """Counts what each tenant sends and refuses what is too much."""

    def __init__(
        self,
        engine: Engine,
        redis_url: str,
        default_per_second: int,
        cache_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._redis_url = redis_url
        self._default = default_per_second
        self._cache_seconds = cache_seconds
        self._clock = clock
        self._limiter: FixedWindowRateLimiter | None = None
        self._windows: dict[str, tuple[float, RateLimitItem]] = {}
        self._paused_until = 0.0

    def take(self, tenant_id: str, exceptions: int) -> None:
        """Count some exceptions of a tenant. Raises ProblemError 429 with Retry-After; none of them is taken then."""
        if self._clock() < self._paused_until:
            return
        window = self._window(tenant_id)
        try:
            wait = self._refused_for(window, tenant_id, exceptions)
        except RedisError as error:
            self._pause(error)
            return
        if wait is not None:
            per_second = window.amount / window.multiples
            raise ProblemError(
                RATE_LIMITED,
                f"your tenant may send {per_second:g} exceptions a second; go on in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        if self._paused_until:
            self._paused_until = 0.0
            _log.info("Redis is back: tenants' rates are limited again")

    def _refused_for(self, window: RateLimitItem, tenant_id: str, exceptions: int) -> int | None:
        """Seconds to wait, or None when the exceptions may pass."""
        limiter = self._connected()
        if limiter.hit(window, tenant_id, cost=exceptions):
            return None
        reset: float = limiter.get_window_stats(window, tenant_id).reset_time
        return max(1, math.ceil(reset - time.time()))

    def _connected(self) -> FixedWindowRateLimiter:
        if self._limiter is None:
            storage = RedisStorage(
                self._redis_url,
                socket_timeout=_REDIS_TIMEOUT_SECONDS,
                socket_connect_timeout=_REDIS_TIMEOUT_SECONDS,
            )
            self._limiter = FixedWindowRateLimiter(storage)
        return self._limiter

    def _window(self, tenant_id: str) -> RateLimitItem:
        now = self._clock()
        remembered = self._windows.get(tenant_id)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        with unit_of_work(self._engine, [tenant_id]) as transaction:
            window = window_for(tenant_rate(transaction, tenant_id) or self._default)
        self._windows[tenant_id] = (now + self._cache_seconds, window)
        return window

    def _pause(self, error: RedisError) -> None:
        if not self._paused_until:
            _log.warning("Redis is away (%s): tenants' rates are not limited until it is back", type(error).__name__)
        self._paused_until = self._clock() + _PAUSE_SECONDS


def window_for(per_second: float) -> RateLimitItem:
    """The window in which a rate is counted: whole seconds, and wide enough for the largest request."""
    seconds = max(1, math.ceil(LARGEST_REQUEST / per_second))
    return RateLimitItemPerSecond(max(1, int(per_second * seconds)), seconds, namespace="sentinai")
