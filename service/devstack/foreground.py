"""Staying with a stack in the foreground: telling what happens to its processes, and ending it on Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from service.devstack import stack
from service.devstack.errors import StackBusyError
from service.devstack.instance import load
from service.devstack.lock import exclusive
from service.devstack.supervision import ProcessState, Supervisor

Say = Callable[[str], None]
_LOOK_EVERY_SECONDS = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


def interrupt_on_signals() -> None:
    """Raise KeyboardInterrupt on the first Ctrl-C, SIGTERM or hang-up, and ignore those after it.

    A second Ctrl-C would leave processes behind, and ending takes seconds. SIGINT is set although Python handles
    it, for a shell starts background jobs with it ignored.
    """

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, interrupt)


class Session:
    """One `up` in the foreground or detached; it keeps the stack when nobody else does."""

    def __init__(self, place: stack.Place, *, stays: bool) -> None:
        self._place = place
        self._stays = stays
        self._held = ExitStack()
        self.keeps = False
        """Whether the stack ends with us."""

    def begin(self) -> None:
        """The stack is up: from now on it is ours to end, unless it is detached or another terminal keeps it."""
        if not self._stays:
            return
        try:
            self._held.enter_context(exclusive(self._place.keeper_lock, "up"))
        except StackBusyError:
            return
        self.keeps = True

    def stay(self, say: Say) -> None:
        """Return when the stack ended; at once when it is not ours to keep."""
        if self.keeps:
            say("  Ctrl-C ends everything")
            _watch(self._place, say)
        elif self._stays:
            say("  another terminal keeps this stack: Ctrl-C there, or `sentinai stack down`, ends it")

    def close(self) -> None:
        """Let another terminal keep the stack."""
        self._held.close()


@contextmanager
def session(place: stack.Place, *, stays: bool) -> Iterator[Session]:
    """End the stack when the block fails or is interrupted after `begin`; before, `stack.up` cleans up itself.

    Exits with 130 when it is interrupted before.
    """
    current = Session(place, stays=stays)
    try:
        yield current
    except BaseException as error:
        if current.keeps:
            stack.down(place, remove=False)
        if not isinstance(error, KeyboardInterrupt):
            raise
        if not current.keeps:
            raise SystemExit(INTERRUPTED) from None
    finally:
        current.close()


def _watch(place: stack.Place, say: Say) -> None:
    """Tell of processes that ended or came back; return when the stack is gone."""
    instance = load(place.home)
    if instance is None:
        return
    supervisor = Supervisor(instance)
    before = supervisor.states()
    while now := supervisor.states():
        for name, state in now.items():
            if (news := _news(before.get(name), state)) is not None:
                say(f"  {name} {news}; see `sentinai stack logs {name}`")
        before = now
        time.sleep(_LOOK_EVERY_SECONDS)
    say("  the stack was ended from elsewhere")


def _news(before: ProcessState | None, now: ProcessState) -> str | None:
    if before is None or (before.state, before.pid) == (now.state, now.pid):
        return None
    if now.state == "FATAL":
        return "keeps dying and is not started any more"
    if now.state == "BACKOFF" and before.state != "BACKOFF":
        return "died and is being restarted"
    if before.pid is not None and now.pid is not None and before.pid != now.pid:
        return "died and was started again"
    return None
