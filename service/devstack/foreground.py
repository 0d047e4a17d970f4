"""Staying with a stack in the foreground: telling what happens to its processes, and ending it on Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from service.devstack import stack
from service.devstack.errors import StackBusyError
from service.devstack.instance import load
from service.devstack.lock import exclusive
from service.devstack.supervision import ProcessState, Supervisor

Say = Callable[[str], None]
_LOOK_EVERY_SECONDS = 0.5
INTERRUPTED = 130


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
        # A second Ctrl-C would leave processes behind; ending takes seconds.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
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
