"""Deliveries as the worker's main process sees them: how they ended, and why they are refused.

When a process of the pool dies over a task or is killed at its time limit, only the main process knows how. It keeps
that in memory and gives it to the next delivery of the same message, which it hands out itself. If the main process
dies too, nothing is kept: then the journal of deliveries says that there was one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import Ignore, Reject, Retry, TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request

ENDED = "ended"
"""The key of a request's delivery information under which a task finds how its earlier delivery ended."""

REMEMBERED = 1000
"""Ends that are kept at most: they are asked for within moments."""

_STATUS = re.compile(r"(signal \d+(?: \(\w+\))?|exitcode \d+)")
_FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGQUIT", "SIGINT", "SIGHUP")
"""Signals by which people and systems end processes; the kernel's out-of-memory killer is among them."""


class Endings:
    """How deliveries ended lately, by the id of their message. Used by the main process only."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def note(self, message_id: str, ended: dict[str, Any]) -> None:
        """Remember an end until the message is delivered again."""
        self._known[message_id] = ended
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def taken(self, message_id: str) -> dict[str, Any] | None:
        """How the delivery before this one ended; forgotten with that."""
        return self._known.pop(message_id, None)


def ended_how(error: BaseException, process: int | None) -> dict[str, Any] | None:
    """What an error that ended a delivery says of its process: {how, own, process}; None if that lives on."""
    if isinstance(error, TimeLimitExceeded):
        limit = float(error.args[0]) if error.args else 0.0
        return {"how": f"time limit of {limit:g} s", "own": True, "process": process}
    if isinstance(error, WorkerLostError):
        found = _STATUS.search(str(error))
        how = found.group(1) if found else "an unknown end"
        return {"how": how, "own": not any(name in how for name in _FROM_OUTSIDE), "process": process}
    if isinstance(error, SystemExit):
        return {"how": f"exitcode {error.code}", "own": True, "process": process}
    return None


class StageRequest(Request):
    """A delivery of a stage task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ended = self.app.endings.taken(self.id)
        if ended is not None:
            # Not among the headers, which a retry would copy.
            self.request_dict["delivery_info"] = {**self.delivery_info, ENDED: ended}

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Remember that the time limit ended it."""
        if not soft:
            self._remember(TimeLimitExceeded(timeout))
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Remember an end of the process; say why a message is refused that no repetition would help."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if not self._remember(error) and not isinstance(error, Ignore | Reject | Retry):
            self.message.refusal = f"its task failed: {type(error).__name__}: {error}"[:500]
        super().on_failure(exc_info, send_failed_event, return_ok)

    def _remember(self, error: BaseException) -> bool:
        ended = ended_how(error, self.worker_pid)
        if ended is not None:
            self.app.endings.note(self.id, ended)
        return ended is not None


def earlier_end(delivery_info: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """How the delivery before this one ended, if the main process saw it."""
    return (delivery_info or {}).get(ENDED)
