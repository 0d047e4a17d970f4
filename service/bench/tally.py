"""What the load generator counted: what was accepted, what was refused and with which words, how long it took."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock

from service.bench.client import Answer

_MOST_WORDS = 5
_LONGEST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Known:
    """An accepted exception, for whoever wants to read one."""

    tenant_id: str
    exception_id: str


@dataclass(frozen=True, slots=True)
class Errors:
    """Everything that did not go as it should have."""

    by_status: dict[str, int] = field(default_factory=dict)
    """Requests by HTTP status; `no answer` for those without one."""
    rejected_items: int = 0
    """Items of accepted batches that were refused."""
    unknown_items: int = 0
    """Items of requests without an answer: they may have been accepted."""
    words: tuple[str, ...] = ()
    """The first few different answers."""

    def __bool__(self) -> bool:
        return bool(self.by_status or self.rejected_items)


class Tally:
    """Counts answers; may be shared by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_status: Counter[str] = Counter()
        self._words: list[str] = []
        self._times: list[tuple[float, float]] = []
        self._rejected = 0
        self._unknown = 0
        self.accepted = 0
        self.recent: deque[Known] = deque(maxlen=64)

    def add(self, answer: Answer, items: int, tenant_id: str) -> None:
        """Count the answer to a request with so many items."""
        if answer.status != 202:
            self._refused(answer, items)
            return
        document = answer.document()
        accepted = document.get("accepted", 1)
        known = next((i["exceptionId"] for i in document.get("items", [document]) if "exceptionId" in i), None)
        with self._lock:
            self.accepted += accepted
            self._rejected += items - accepted
            self._times.append((answer.began, answer.seconds))
            if known is not None:
                self.recent.append(Known(tenant_id, known))

    def _refused(self, answer: Answer, items: int) -> None:
        words = answer.body[:_LONGEST_WORDS].decode(errors="replace")
        with self._lock:
            self._by_status[str(answer.status) if answer.status else "no answer"] += 1
            self._unknown += 0 if answer.status else items
            if len(self._words) < _MOST_WORDS and words not in self._words:
                self._words.append(words)

    def durations(self, began: float, ended: float) -> list[float]:
        """Seconds that each accepted request took which was sent in this span of monotonic time."""
        with self._lock:
            return [seconds for at, seconds in self._times if began <= at < ended]

    def errors(self) -> Errors:
        """Everything refused so far."""
        with self._lock:
            return Errors(dict(self._by_status), self._rejected, self._unknown, tuple(self._words))
