"""What a kind of tool has to be able to do, beside HTTP: perform one call, and tell what is known about its effect.

HTTP has a client of its own, because its requests are many and quick; the other kinds are performed one by one in
the same event loop. What each answer means is the kind's to say, by one rule: for a tool that is not idempotent,
only what proves that nothing happened may be TRANSIENT.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Protocol

from service.errors import PermanentError
from service.tools.answers import not_allowed, not_sent, unanswered
from service.tools.calls import PreparedCall, ToolResult

ABANDONED_AT_MOST = 50
"""Threads of one kind in one process that did not come back in time; beyond them nothing more is begun."""

THREAD_MARGIN_SECONDS = 1.0
"""How much longer than its time limit a blocking call may take, so that its own time limit speaks first."""


class CallKind(Protocol):
    """Performs calls of one kind, in the event loop of the process that made it."""

    async def perform(self, call: PreparedCall) -> ToolResult:
        """Make one call. Raises PermanentError when it must not be made; the message is for people."""
        ...

    def close(self) -> None:
        """Give back what is open. Calls under way were cancelled before."""
        ...


Kinds = Callable[[], Mapping[str, CallKind]]
"""Makes a process's kinds, by name; called in the process that uses them, because connections survive no fork."""


def no_kinds() -> Mapping[str, CallKind]:
    """Nothing but HTTP."""
    return {}


Work = Callable[[PreparedCall], ToolResult]


class BlockingKind:
    """A kind whose calls block: each is made in a thread of its own.

    A thread cannot be stopped. One that does not come back in time is abandoned, its call counts as unanswered,
    and what it brings later is dropped; when too many are, no further call is begun.
    """

    def __init__(self, work: Work, shut: Callable[[], None] = lambda: None) -> None:
        """`work` makes one call and keeps to its time limit as well as it can; it may raise PermanentError."""
        self._work = work
        self._shut = shut
        self._abandoned: set[Thread] = set()

    async def perform(self, call: PreparedCall) -> ToolResult:
        """Make one call in a thread."""
        self._abandoned = {thread for thread in self._abandoned if thread.is_alive()}
        if len(self._abandoned) >= ABANDONED_AT_MOST:
            return not_sent(call, f"{len(self._abandoned)} earlier calls never came back; restart this worker", 0.0)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[ToolResult] = loop.create_future()
        thread = Thread(target=self._run, args=(call, loop, arrived), name=f"tool-{call.call.kind}", daemon=True)
        began = time.monotonic()
        thread.start()
        try:
            async with asyncio.timeout(call.call.timeout_seconds + THREAD_MARGIN_SECONDS):
                return await asyncio.shield(arrived)
        except TimeoutError:
            self._abandoned.add(thread)
            return unanswered(call, "timeout; raise the tool's timeoutSeconds or look at it", time.monotonic() - began)

    def close(self) -> None:
        """Let go of what the calls share."""
        self._shut()

    def _run(self, call: PreparedCall, loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[ToolResult]) -> None:
        began = time.monotonic()
        try:
            result = self._work(call)
        except PermanentError as error:
            result = not_allowed(call, str(error))
        except Exception as error:  # noqa: BLE001 - a thread's edge: whatever one call meets, its batch goes on
            result = unanswered(call, type(error).__name__, time.monotonic() - began)
        try:
            loop.call_soon_threadsafe(_arrive, arrived, result)
        except RuntimeError:
            return  # the loop was closed while the call was under way: nobody waits for it


def _arrive(arrived: asyncio.Future[ToolResult], result: ToolResult) -> None:
    if not arrived.done():
        arrived.set_result(result)
