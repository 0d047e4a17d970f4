"""What the clients of one cluster complain about: remembered for the errors that people see, and logged once.

librdkafka repeats itself many times a second and tries again for ever. A person needs the cause in the error that
follows, one warning when trouble begins in a process that runs already, and one line when it is over.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .diagnosis import Diagnosis, diagnose, is_telling, readable

logger = logging.getLogger(__name__)

_REMEMBERED = 60.0
_WARN_EVERY = 60.0
_SOON = 15.0
_PAUSE = 3.0
_FAINT = frozenset({"gone", "unknown"})
"""A connection that ends may be an idle one that the broker closes; another complaint says more."""


class Pace:
    """Slows down what fails again and again: a consumer without its ACL would reconnect without end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = self._before = -math.inf

    def failed(self) -> None:
        """Note a failure."""
        self._before, self._last = self._last, self._clock()

    def pause(self) -> float:
        """Seconds to wait before the next attempt: none after a first failure, some after a second soon after it."""
        if self._last - self._before > _SOON:
            return 0.0
        return max(0.0, self._last + _PAUSE - self._clock())


@dataclass(frozen=True, slots=True)
class Complaint:
    """One complaint, readable."""

    cause: str
    diagnosis: Diagnosis
    at: float

    def __str__(self) -> str:
        return f"{self.cause}; {self.diagnosis.advice}"


class Troubles:
    """The last complaints. Any thread may tell one."""

    def __init__(self, servers: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._servers = servers
        self._clock = clock
        self._lock = threading.Lock()
        self._clear: Complaint | None = None
        self._faint: Complaint | None = None
        self._was_fine = False
        self._warned_at: float | None = None
        self._began: float | None = None

    def heard(self, text: str, code: int) -> None:
        """Note what a client says."""
        if not is_telling(text, code):
            return
        complaint = Complaint(readable(text), diagnose(text, code), self._clock())
        faint = complaint.diagnosis.kind in _FAINT
        with self._lock:
            if faint:
                self._faint = complaint
                return
            self._clear = complaint
        self._warn(complaint)

    def fine(self) -> None:
        """Note that the cluster did what it was asked."""
        self._was_fine = True
        if self._clear is None and self._faint is None:
            return
        with self._lock:
            self._clear = self._faint = None
            began, self._began, self._warned_at = self._began, None, None
        if began is not None:
            logger.warning("Kafka at %s works again after %.0f s", self._servers, self._clock() - began)

    def over(self) -> None:
        """Note that the process ends: nobody waits for this cluster any more, so its absence is no news."""
        self._was_fine = False

    def cause(self) -> Complaint | None:
        """Return what explains a failure now, if anything was heard."""
        oldest = self._clock() - _REMEMBERED
        with self._lock:
            heard = [complaint for complaint in (self._clear, self._faint) if complaint is not None]
        return next((complaint for complaint in heard if complaint.at >= oldest), None)

    def _warn(self, complaint: Complaint) -> None:
        """Warn of trouble that begins while all was fine; what opens a connection gets the cause as its error."""
        with self._lock:
            due = self._warned_at is None or complaint.at - self._warned_at >= _WARN_EVERY
            if not self._was_fine or not due:
                return
            self._warned_at = complaint.at
            self._began = self._began or complaint.at
        logger.warning("trouble with Kafka at %s: %s; it is tried again and again", self._servers, complaint)
