"""Green threads are refused. Pure, but for looking at which modules are loaded.

librdkafka's calls block a whole thread, and its answers come from threads of its own. Under gevent or eventlet every
"thread" of this package would share one: the first poll would stop all others, and a lock released by a native thread
would wake nobody. Measured: a worker with the gevent pool connects, and then does nothing for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType

from .errors import TransportError

_QUESTIONS = (
    ("gevent", "gevent.monkey", "is_module_patched", "threading"),
    ("eventlet", "eventlet.patcher", "is_monkey_patched", "thread"),
)
"""Library, the module that knows, the question it answers, and its name for Python's threads."""


class GreenThreadsRefused(TransportError):
    """The process is patched for green threads. Not a connection error, for trying again would not help."""

    def __init__(self, library: str) -> None:
        super().__init__(
            f"the Kafka transport does not work in a process that {library} has patched: librdkafka's calls would "
            "block all its green threads; use the prefork, threads or solo pool (celery worker --pool=threads)"
        )


def refuse_green_threads(loaded: Mapping[str, ModuleType] = sys.modules) -> None:
    """Raise when a library has replaced this process's threads.

    Raises:
        GreenThreadsRefused: it has; the message names the library and the pools that work.
    """
    for library, module, question, threads in _QUESTIONS:
        if module in loaded and getattr(loaded[module], question)(threads):
            raise GreenThreadsRefused(library)
