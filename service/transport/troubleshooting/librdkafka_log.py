"""What librdkafka logs, made readable: causes of trouble are handed on, and a complaint appears once in a while.

Its clients log the same line up to a hundred times a second while a broker is away. What they say about connections
goes to :mod:`service.transport.troubleshooting.troubles`, which tells it to a person once, and to the debug log.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

_EVERY = 10.0
_VARYING = re.compile(r"\d+")
_OF_CONNECTIONS = frozenset({"FAIL", "REQTMOUT", "ERROR"})
_MISTAKEN = "allow.auto.create.topics is a consumer property"
"""librdkafka warns that a producer ignores it; measured: without it a producer makes topics, with it it does not."""


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


class ClientLog:
    """What librdkafka's clients of one cluster take for their logger."""

    def __init__(self, hear: Callable[[str, int], None]) -> None:
        self._hear = hear
        self._logger = client_logger()
        self._over = False

    def over(self) -> None:
        """The process ends: what a client still has to say is for those who debug."""
        self._over = True

    def log(self, level: int, form: str, facility: str, client: str, text: str) -> None:
        """Take one line; called by librdkafka's Python layer while a client is polled."""
        if facility in _OF_CONNECTIONS:
            self._hear(text, 0)
            level = logging.DEBUG
        elif self._over or _MISTAKEN in text:
            level = logging.DEBUG
        self._logger.log(level, form, facility, client, text)


def client_logger() -> logging.Logger:
    """Return the logger of all clients of this process."""
    logger = logging.getLogger(f"{__package__.rpartition('.')[0]}.librdkafka")
    if not logger.filters:
        logger.addFilter(Once())
    return logger
