"""How many calls are on the wire at once: of one tool, of one tenant, and in all, so that a tool that hangs takes
no more than its share.

The limits are the installation's, divided by its worker processes: each process keeps to its own share and asks
nobody. A call that finds no free slot waits in its process as long as slots come free at all; then it counts as not
sent, and its exception waits outside the workers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from service.tools.calls import PreparedCall

SLOT_PATIENCE_SECONDS = 1.0
"""How long a call waits for a slot in its process while none comes free."""

LONGEST_WAIT_SECONDS = 8.0
"""How long it waits while slots do come free and others take them. Below the margin of its lease, so that no call
goes out after that."""

STUCK_SECONDS = 0.5
"""A limit that is reached and of which no slot has come free for this long is stuck: further calls need not try."""

_Scope = tuple[str, ...]


class NoFreeSlotError(Exception):
    """A call did not leave: a limit was reached all the time. The message is the reason people see."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The most requests under way at once, in all worker processes together."""

    per_tool: int
    """Of one tenant's tool that names no `maxConcurrency`."""
    per_tenant: int
    total: int
    """Of one worker process, whatever the tenant."""
    processes: int
    """Worker processes that share the first two."""

    @staticmethod
    def alike(number: int) -> CallLimits:
        """The same for a tool, a tenant and a process, which is the only one."""
        return CallLimits(number, number, number, 1)

    def share(self, limit: int) -> int:
        """A process's part of a limit: at least one, so that no tool stands still."""
        return max(1, limit // self.processes)


@dataclass(slots=True)
class _Count:
    limit: int
    active: int = 0
    freed_at: float = 0.0
    """When a slot last came free; while the limit was not reached, when it was."""

    def free(self) -> bool:
        return self.active < self.limit

    def stuck(self, now: float) -> bool:
        return not self.free() and now - self.freed_at >= STUCK_SECONDS


@dataclass(slots=True)
class _Waiting:
    """Calls of one tool that wait for a slot, oldest first."""

    call: PreparedCall
    queue: deque[asyncio.Future[None]] = field(default_factory=deque)


class CallSlots:
    """The slots of one process. Taken and given back in the event loop's thread; `stuck` may be asked from any."""

    def __init__(self, limits: CallLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._counts: dict[_Scope, _Count] = {}
        self._waiting: dict[_Scope, _Waiting] = {}

    @asynccontextmanager
    async def slot(self, call: PreparedCall) -> AsyncIterator[None]:
        """Hold a slot for a request of this call's tool. Raises NoFreeSlotError when none came free in time."""
        if not self._take(call):
            await self._wait(call)
        try:
            yield
        finally:
            self._give_back(call)

    def stuck(self, call: PreparedCall) -> str | None:
        """Why a further call of this tool need not try now; None: it may."""
        now = self._clock()
        for scope in _scopes(call):
            count = self._counts.get(scope)
            if count is not None and count.stuck(now):
                return _reason(scope, count.limit)
        return None

    def room(self, call: PreparedCall) -> int:
        """How many more requests of this call's tool could leave now. Told from any thread, so only about right."""
        waiting = self._waiting.get(_scopes(call)[0])
        counts = [(self._counts.get(scope), limit) for scope, limit in self._limits_of(call)]
        free = min(limit - (count.active if count is not None else 0) for count, limit in counts)
        return max(0, free - (len(waiting.queue) if waiting is not None else 0))

    def _take(self, call: PreparedCall) -> bool:
        counts = list(self._of(call))
        if not all(count.free() for count in counts):
            return False
        now = self._clock()
        for count in counts:
            count.active += 1
            count.freed_at = now
        return True

    async def _wait(self, call: PreparedCall) -> None:
        tool = _scopes(call)[0]
        waiting = self._waiting.setdefault(tool, _Waiting(call))
        turn = asyncio.get_running_loop().create_future()
        waiting.queue.append(turn)
        until = self._clock() + LONGEST_WAIT_SECONDS
        try:
            while not turn.done():
                await asyncio.wait({turn}, timeout=SLOT_PATIENCE_SECONDS)
                if not turn.done() and not (self._flows(call) and self._clock() < until):
                    raise NoFreeSlotError(self._why_full(call))
        except BaseException:
            self._leave(call, tool, turn)
            raise

    def _flows(self, call: PreparedCall) -> bool:
        """Whether slots of the limit that is in the way come free, only not for this call yet."""
        now = self._clock()
        full = [count for count in self._of(call) if not count.free()]
        return all(now - count.freed_at < SLOT_PATIENCE_SECONDS for count in full)

    def _leave(self, call: PreparedCall, tool: _Scope, turn: asyncio.Future[None]) -> None:
        """Stop waiting; a slot that was granted in the same moment goes to the next."""
        if turn.done():
            self._give_back(call)
            return
        turn.cancel()
        waiting = self._waiting.get(tool)
        if waiting is not None and turn in waiting.queue:
            waiting.queue.remove(turn)
            self._forget_empty(tool)

    def _give_back(self, call: PreparedCall) -> None:
        now = self._clock()
        for scope in _scopes(call):
            count = self._counts[scope]
            count.active -= 1
            count.freed_at = now
            if not count.active:
                del self._counts[scope]
        self._grant()

    def _grant(self) -> None:
        """Give free slots to those that wait, one tool after the other."""
        granted = True
        while granted:
            granted = False
            for tool, waiting in list(self._waiting.items()):
                # Who gave up waiting in this very moment has not left the queue yet.
                while waiting.queue and waiting.queue[0].done():
                    waiting.queue.popleft()
                if waiting.queue and self._take(waiting.call):
                    waiting.queue.popleft().set_result(None)
                    granted = True
                self._forget_empty(tool)

    def _forget_empty(self, tool: _Scope) -> None:
        if not self._waiting[tool].queue:
            del self._waiting[tool]

    def _of(self, call: PreparedCall) -> Iterator[_Count]:
        for scope, limit in self._limits_of(call):
            count = self._counts.setdefault(scope, _Count(limit))
            # A new version of the pack may have changed it.
            count.limit = limit
            yield count

    def _limits_of(self, call: PreparedCall) -> list[tuple[_Scope, int]]:
        limits = self._limits
        of_tool = limits.share(call.call.max_concurrency or limits.per_tool)
        return list(zip(_scopes(call), (of_tool, limits.share(limits.per_tenant), limits.total), strict=True))

    def _why_full(self, call: PreparedCall) -> str:
        for scope, count in zip(_scopes(call), self._of(call), strict=True):
            if not count.free():
                return _reason(scope, count.limit)
        return f"tool {call.call.tool!r} had no free slot"


def _scopes(call: PreparedCall) -> tuple[_Scope, _Scope, _Scope]:
    return (call.tenant_id, call.call.tool), (call.tenant_id,), ()


def _reason(scope: _Scope, limit: int) -> str:
    if len(scope) == 2:
        return f"tool {scope[1]!r} has {limit} calls under way in this worker, which is its share of the limit"
    if scope:
        return f"this tenant's tools have {limit} calls under way in this worker, which is its share of the limit"
    return f"{limit} calls are under way in this worker, its limit"
