"""Known secrets are masked wherever they turn up: in log records, and in what tools answer. What only looks like a
secret, a card number or an IBAN is masked in log records too.

The second line of defence. The first is that a secret is resolved at the last moment and handed to nobody but
the connection; this one catches the tool that echoes its headers and the library that logs its arguments.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus
from weakref import WeakSet

from service.domain.detectors import Detector, masked_text, suspicious

MASK = "[SECRET]"

LOOKED_FOR_IN_LOGS = frozenset(Detector) - {Detector.EMAIL}
"""What is masked in logs though nobody resolved it. Not addresses: workers are called `celery@host.example`."""

SHORTEST_MASKED = 6
"""Characters. A shorter secret is not searched for: it would mask parts of ordinary words."""

_MOST_KNOWN = 2_000


class KnownSecrets:
    """The values this process has resolved so far. Safe to use from several threads."""

    def __init__(self) -> None:
        self._values: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Mask this value, and its usual spellings, from now on. Also for what was made of a secret (Basic auth)."""
        if len(value) < SHORTEST_MASKED or value in self._values:
            return
        with self._lock:
            self._values[value] = None
            while len(self._values) > _MOST_KNOWN:
                del self._values[next(iter(self._values))]
            spellings = {spelling for known in self._values for spelling in _spellings(known)}
            self._pattern = re.compile("|".join(re.escape(one) for one in sorted(spellings, key=len, reverse=True)))

    def masked_text(self, text: str) -> str:
        """The text with known secrets masked."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def masked(self, value: Any) -> Any:
        """JSON data with known secrets masked in its keys and texts; the same object when it has none."""
        return value if self._pattern is None else self._deep(value)

    def _deep(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.masked_text(value)
        if isinstance(value, Mapping):
            return {self._deep(key): self._deep(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._deep(item) for item in value]
        return value


def mask_log_records(known: KnownSecrets) -> None:
    """Mask known secrets in every log record of this process, whatever handler it goes to.

    Works where records are made, not on a handler, because Celery and gunicorn bring handlers of their own.
    """
    current = logging.getLogRecordFactory()
    if not isinstance(current, _MaskingFactory):
        current = _MaskingFactory(current)
        logging.setLogRecordFactory(current)
    current.known.add(known)


class _MaskingFactory:
    """Makes log records whose message and traceback hold no known secret."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self.known: WeakSet[KnownSecrets] = WeakSet()

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError):  # logging itself reports a wrong format, when it formats
            return record
        masked = self._masked(said)
        if masked != said:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
            masked = self._masked(trace)
            if masked != trace:
                record.exc_text = masked
        return record

    def _masked(self, text: str) -> str:
        for known in tuple(self.known):
            text = known.masked_text(text)
        if not suspicious(text.encode("utf-8", "replace"), LOOKED_FOR_IN_LOGS):
            return text
        return masked_text(text, LOOKED_FOR_IN_LOGS)


def _spellings(value: str) -> set[str]:
    """A value as it stands in a URL, in JSON, in a Python literal, and alone in base64."""
    encoded = base64.b64encode(value.encode()).decode()
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        encoded,
        encoded.rstrip("="),
    }
