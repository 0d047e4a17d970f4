"""What the test application's tasks note in Redis, read from outside the worker."""

from __future__ import annotations

from service.devstack.waiting import wait_until
from tests.celery_kafka.vendors.redis import RedisContainer

_BEGIN_SECONDS = 60


class Journal:
    """The notes of `work.hold` and `work.step`, and the gate of `work.hold`."""

    def __init__(self, redis: RedisContainer) -> None:
        self._redis = redis.client
        self._prefix = redis.celeryconfig["key_prefix"]

    def begun(self, name: str) -> int:
        """How often the held task `name` was begun."""
        return int(self._redis.llen(f"{self._prefix}begun:{name}"))

    def workers(self, name: str) -> list[str]:
        """The node names of the workers that began the task `name`, one for each time."""
        return list(self._redis.lrange(f"{self._prefix}begun:{name}", 0, -1))

    def wait_for_begin(self, name: str, times: int = 1, seconds: float = _BEGIN_SECONDS) -> None:
        """Wait until the held task `name` was begun `times` times."""

        def missing() -> str | None:
            begun = self.begun(name)
            return None if begun >= times else f"begun {begun} times, not {times}"

        wait_until(missing, f"task {name!r}", seconds)

    def let_go(self, name: str) -> None:
        """Let the held task `name` finish."""
        self._redis.rpush(f"{self._prefix}let-go:{name}", "now")

    def of(self, key: str) -> list[str]:
        """What the steps of `key` noted, in the order in which it happened."""
        return list(self._redis.lrange(f"{self._prefix}journal:{key}", 0, -1))
