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


@contextmanager
def ending_on_interrupt(place: stack.Place, *, stays: bool) -> Iterator[Callable[[Say], None]]:
    """Give the block a function that stays until the stack ends; Ctrl-C there ends the stack.

    While the block still starts the stack, an interrupt is `stack.up`'s to clean up after. Exits with 130 then.
    """
    staying = False

    def stay(say: Say) -> None:
        nonlocal staying
        if not stays:
            return
        with ExitStack() as held:
            try:
                held.enter_context(exclusive(place.root / f"{place.name}.foreground", "up"))
            except StackBusyError:
                say("  another terminal keeps this stack: Ctrl-C there, or `sentinai stack down`, ends it")
                return
            staying = True
            say("  Ctrl-C ends everything")
            _watch(place, say)

    try:
        yield stay
    except KeyboardInterrupt:
        if staying:
            stack.down(place, remove=False)
            return
        raise SystemExit(INTERRUPTED) from None


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
