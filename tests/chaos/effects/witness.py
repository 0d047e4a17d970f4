"""The witness: a tool that writes down what it worked, and strikes the worker at a chosen moment of a call.

It is what the outside world knows: the judge compares it with the effect ledger. `once` works every call it
gets; `again` recognises a repeated key, as a tool that is declared idempotent does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from threading import Event, Lock, Thread

from aiohttp import web

IDEMPOTENT_TOOL = "again"
TOOL = "once"
_ON_THE_WIRE = 0.005
"""Seconds for a written answer to reach the worker; it writes answers down only after 50 ms."""


class Moment(StrEnum):
    """When the worker is killed, in the order of a call's life."""

    BEFORE_SENT = "before sent is committed"
    SENT = "sent is committed"
    ARRIVING = "the request begins to arrive"
    HALFWAY = "the tool has read a part of the request"
    WORKED = "the tool worked it, nothing is answered"
    ANSWERED = "the answer is out, nothing is written down"
    CONFIRMED = "the answer is written down"


SEEN_BY_WITNESS = frozenset({Moment.ARRIVING, Moment.HALFWAY, Moment.WORKED, Moment.ANSWERED})
"""The moments the witness itself can see; the others show in the database."""


class Witness:
    """An HTTP server on loopback in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.struck = Event()
        self._port = port
        self._lock = Lock()
        self._worked: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._moment: Moment | None = None
        self._strike: Callable[[], None] = lambda: None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="witness", daemon=True)
        self._runner: web.AppRunner | None = None

    def __enter__(self) -> Witness:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def arm(self, moment: Moment, strike: Callable[[], None]) -> None:
        """Strike at this moment of the next call that comes to it."""
        with self._lock:
            self.struck.clear()
            self._moment, self._strike = moment, strike

    def disarm(self) -> None:
        """Let calls be."""
        with self._lock:
            self._moment = None

    def worked(self, key: str) -> int:
        """How often the effect of a key happened."""
        return self._worked[key]

    def received(self, key: str) -> int:
        """How often a key's request came in whole."""
        return self._received[key]

    async def _open(self) -> None:
        application = web.Application(client_max_size=8 * 1024 * 1024)
        application.add_routes([web.post("/{tool}", self._call)])
        self._runner = web.AppRunner(application, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _shut(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _call(self, request: web.Request) -> web.StreamResponse:
        tool, key = request.match_info["tool"], request.headers["Idempotency-Key"]
        try:
            if await self._reached(Moment.ARRIVING):
                raise ConnectionAbortedError
            await request.content.read(1024)
            if not request.content.at_eof() and await self._reached(Moment.HALFWAY):
                raise ConnectionAbortedError
            await request.read()
        except ConnectionError:
            # Half a request is not worked, although the rest of it may have reached this machine already.
            return web.Response(status=400)
        self._received[key] += 1
        if tool != IDEMPOTENT_TOOL or not self._worked[key]:
            self._worked[key] += 1
        await self._reached(Moment.WORKED)
        response = web.json_response({"reference": f"{tool}-{key[:8]}"})
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            return response
        if self._moment is Moment.ANSWERED:
            await asyncio.sleep(_ON_THE_WIRE)
            await self._reached(Moment.ANSWERED)
        return response

    async def _reached(self, moment: Moment) -> bool:
        """Strike if this is the moment; whether it was."""
        with self._lock:
            if self._moment is not moment:
                return False
            self._moment = None
            strike = self._strike
        await asyncio.to_thread(strike)
        self.struck.set()
        return True
