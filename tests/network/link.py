"""One TCP way to a server that can be cut, silenced and slowed down, and that can lose a COMMIT. Runs in asyncio.

Bytes are passed on as they come; what they mean is nobody's business here but `commits.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import StrEnum

from tests.network.commits import CommitFinder

_CHUNK = 65_536
_WAITING_CHUNKS = 64
"""So many are read ahead of what may be passed on; then the sender has to wait, as TCP has it."""


class Commits(StrEnum):
    """What happens to a COMMIT on its way to PostgreSQL."""

    PASS = "pass"
    UNSENT = "unsent"
    """It never arrives: both ends see the connection end, and the transaction is rolled back."""
    UNANSWERED = "unanswered"
    """It arrives and is done; its answer is lost with the connection, so the client cannot know."""


@dataclass(frozen=True)
class State:
    """How a link is at a time."""

    cut: bool = False
    """Connections are ended, and new ones refused."""
    silent: bool = False
    """Connections stay, and nothing comes through: a cable is out, and nobody was told."""
    delay_seconds: float = 0.0
    """Each way."""
    commits: Commits = Commits.PASS


@dataclass(frozen=True)
class Target:
    """Where a link leads to."""

    host: str
    port: int


class Link:
    """Listens, and passes on."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._state = State()
        self._passable = asyncio.Event()
        self._passable.set()
        self._open: set[_Connection] = set()
        self.cut_commits = 0
        """How many COMMITs were lost, or their answers."""

    @property
    def state(self) -> State:
        """How it is now."""
        return self._state

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def become(self, state: State) -> None:
        """Be so from now on; a cut ends what is open."""
        self._state = state
        if state.silent:
            self._passable.clear()
        else:
            self._passable.set()
        if state.cut:
            self.end_connections()

    def end_connections(self) -> None:
        """End what is open, at once."""
        for connection in list(self._open):
            connection.end()

    async def serve(self, near: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Carry one connection from its beginning to its end; for `asyncio.start_server`."""
        if self._state.cut:
            answer.transport.abort()
            return
        await self._passable.wait()
        try:
            far, ask = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            answer.transport.abort()
            return
        connection = _Connection(self, (near, answer), (far, ask))
        self._open.add(connection)
        try:
            await connection.carry()
        finally:
            self._open.discard(connection)

    async def pass_when_due(self, due: float) -> None:
        """Return when a chunk that is due at a time of the loop's clock may go on."""
        pause = due - asyncio.get_running_loop().time()
        if pause > 0:
            await asyncio.sleep(pause)
        await self._passable.wait()


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, link: Link, near: _Ends, far: _Ends) -> None:
        self._link = link
        self._near = near
        self._far = far
        self._finder = CommitFinder()
        self._answer_is_lost = False

    async def carry(self) -> None:
        """Pass bytes on in both directions until either ends."""
        ways = [
            asyncio.ensure_future(self._direction(self._near[0], self._far[1], asking=True)),
            asyncio.ensure_future(self._direction(self._far[0], self._near[1], asking=False)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.end()

    def end(self) -> None:
        """End both connections now; what was not passed on is lost."""
        for _, writer in (self._near, self._far):
            writer.transport.abort()

    async def _direction(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, asking: bool) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING_CHUNKS)
        reading = asyncio.ensure_future(self._read(source, waiting))
        try:
            while True:
                due, data = await waiting.get()
                await self._link.pass_when_due(due)
                if not data or self._loses(data, asking=asking):
                    break
                sink.write(data)
                await sink.drain()
            with contextlib.suppress(OSError):
                await sink.drain()
                sink.close()
        except OSError:
            return
        finally:
            reading.cancel()

    async def _read(self, source: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        clock = asyncio.get_running_loop().time
        data = b"x"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = b""
            await waiting.put((clock() + self._link.state.delay_seconds, data))

    def _loses(self, data: bytes, *, asking: bool) -> bool:
        """Whether the connection ends here instead of passing this on."""
        if not asking:
            return self._answer_is_lost
        if not self._finder.feed(data) or self._link.state.commits is Commits.PASS:
            return False
        self._link.cut_commits += 1
        self._answer_is_lost = self._link.state.commits is Commits.UNANSWERED
        return not self._answer_is_lost
