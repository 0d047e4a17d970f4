"""What librdkafka logs, made readable: the same complaint once in a while instead of a hundred times a second."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

_EVERY = 10.0
_VARYING = re.compile(r"\d+")


class Once(logging.Filter):
    """Lets a message pass, and then others like it (numbers aside) only after some seconds."""

    def __init__(self, seconds: float = _EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log this one."""
        kind, now = _VARYING.sub("#", record.getMessage()), self._clock()
        if now - self._passed.get(kind, -self._seconds) < self._seconds:
            return False
        self._passed[kind] = now
        return True


def client_logger() -> logging.Logger:
    """Return the logger to give to librdkafka's clients."""
    logger = logging.getLogger(f"{__package__}.librdkafka")
    if not logger.filters:
        logger.addFilter(Once())
    return logger
