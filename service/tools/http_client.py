"""The HTTP tool client: synchronous for its caller, concurrent on the wire.

One event loop in a thread of its own, for the process's life, keeps the connections open between batches and
goes on receiving answers while the caller writes the previous ones down. A forked child starts its own.
What an answer means is told by `answers`, what goes together in one request by `requests`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import lru_cache
from queue import SimpleQueue
from threading import Thread

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
)
from yarl import URL

from service.errors import PermanentError
from service.secrets import KnownSecrets, Secrets
from service.tools.answers import Reply, held_back, not_allowed, not_sent, unanswered
from service.tools.calls import PreparedCall, ToolResult
from service.tools.egress import EgressGuard, GuardedResolver
from service.tools.kinds import CallKind, Kinds, no_kinds
from service.tools.limits import CallSlots, NoFreeSlotError
from service.tools.requests import Request, plan_requests

GROUP_SECONDS = 0.05
"""Answers are gathered this long into one group, so that the caller writes many down in one transaction."""

KEEP_ALIVE_SECONDS = 1.5
"""How long an idle connection is kept: shorter than servers do (gunicorn: 2 s), because a call sent just when
the server closes its connection stays unanswered."""

CONNECT_SHARE = 0.8
"""Share of the timeout that connecting may take. What runs out later certainly had its connection."""

NAME_CACHE_SECONDS = 10
CLOSE_SECONDS = 5.0
URL_CACHE_SIZE = 1024

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "SentinAI",
}

_OVER_HTTP = frozenset({"http", "webhook"})

NO_SECRETS = Secrets({}, KnownSecrets())
"""Resolves no reference at all."""

Groups = SimpleQueue[list[ToolResult] | None]


class HttpToolClient:
    """A ToolClient over HTTP, for any number of callers; `slots` says how many requests are under way at once.

    Calls of other kinds it hands to theirs, in the same loop and under the same limits.
    """

    def __init__(
        self, slots: CallSlots, egress: EgressGuard, secrets: Secrets = NO_SECRETS, kinds: Kinds = no_kinds
    ) -> None:
        """Opens nothing yet, so it may be made before a fork."""
        self._slots = slots
        self._egress = egress
        self._secrets = secrets
        self._kinds = kinds
        self._exchange: _Exchange | None = None
        self._pid = 0

    def results(self, calls: Sequence[PreparedCall]) -> Iterator[list[ToolResult]]:
        """Make the calls and yield their results in groups; see ToolClient."""
        groups: Groups = SimpleQueue()
        work = self._running_exchange().start(calls, groups)
        try:
            while (group := groups.get()) is not None:
                yield group
            work.result()
        finally:
            work.cancel()

    def close(self) -> None:
        """Close the connections and end the loop's thread."""
        if self._exchange is not None and self._pid == os.getpid():
            self._exchange.close()
        self._exchange = None

    def _running_exchange(self) -> _Exchange:
        if self._exchange is None or self._pid != os.getpid():
            self._exchange = _Exchange(self._slots, self._egress, self._secrets, self._kinds())
            self._pid = os.getpid()
        return self._exchange


class _Exchange:
    """The loop, its thread and its session. The coroutines run in that thread, the rest in the caller's."""

    def __init__(self, slots: CallSlots, egress: EgressGuard, secrets: Secrets, kinds: Mapping[str, CallKind]) -> None:
        self._slots = slots
        self._egress = egress
        self._secrets = secrets
        self._kinds = kinds
        self._checked = lru_cache(maxsize=URL_CACHE_SIZE)(egress.checked)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="tool-calls", daemon=True)
        self._thread.start()
        self._session: ClientSession = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def start(self, calls: Sequence[PreparedCall], groups: Groups) -> Future[None]:
        """Begin the calls. Groups of results arrive in the queue, None after the last."""
        return asyncio.run_coroutine_threadsafe(self._work(calls, groups), self._loop)

    def close(self) -> None:
        """Cancel what runs, close the connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_SECONDS)
        self._loop.close()
        for kind in self._kinds.values():
            kind.close()

    async def _open(self) -> ClientSession:
        connector = TCPConnector(
            # The slots bound the connections. A bound here would let the time limit run while a call waits for one.
            limit=0,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            ttl_dns_cache=NAME_CACHE_SECONDS,
            resolver=GuardedResolver(self._egress),
            socket_factory=self._egress.open_socket,
        )
        session = ClientSession(
            connector=connector, headers=_HEADERS, cookie_jar=DummyCookieJar(), auto_decompress=False, trust_env=False
        )
        # aiohttp would send a PUT, DELETE or GET a second time by itself when the connection is cut. Whether a call
        # may be repeated is the ledger's to say; aiohttp has no public name for this, its own test client sets it too.
        session._retry_connection = False
        return session

    async def _shut(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()

    async def _work(self, calls: Sequence[PreparedCall], groups: Groups) -> None:
        arrivals = _Arrivals(self._loop, groups)
        try:
            async with asyncio.TaskGroup() as requests:
                once = {call.key: call for call in calls}.values()
                for request in plan_requests(call for call in once if call.call.kind in _OVER_HTTP):
                    requests.create_task(self._perform(request, arrivals))
                for call in once:
                    if call.call.kind not in _OVER_HTTP:
                        requests.create_task(self._hand_on(call, arrivals))
        finally:
            arrivals.end()

    async def _perform(self, request: Request, arrivals: _Arrivals) -> None:
        """One request and its results. Every way it can end becomes a result of each of its calls."""
        began = time.monotonic()
        try:
            async with self._slots.slot(request.calls[0]):
                began = time.monotonic()
                reply = await self._send(request)
        except NoFreeSlotError as error:
            arrivals.add([held_back(call, str(error)) for call in request.calls])
        except (PermanentError, InvalidURL, ClientConnectorCertificateError) as error:
            arrivals.add([not_allowed(call, _said(error)) for call in request.calls])
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            spent = time.monotonic() - began
            arrivals.add([not_sent(call, _said(error), spent) for call in request.calls])
        except Exception as error:  # noqa: BLE001 - whatever one request meets, its batch goes on
            spent = time.monotonic() - began
            arrivals.add([unanswered(call, _said(error), spent) for call in request.calls])
        else:
            halves = request.divided_after(reply)
            for half in halves:
                await self._perform(half, arrivals)
            if not halves:
                arrivals.add(request.results(reply, time.monotonic() - began, datetime.now(UTC)))

    async def _hand_on(self, call: PreparedCall, arrivals: _Arrivals) -> None:
        """A call of another kind, and its result, however it ends."""
        kind = self._kinds.get(call.call.kind)
        try:
            if kind is None:
                arrivals.add([not_allowed(call, f"tools of kind {call.call.kind!r} are not set up here")])
                return
            async with self._slots.slot(call):
                result = await kind.perform(call)
        except NoFreeSlotError as error:
            result = held_back(call, str(error))
        except PermanentError as error:
            result = not_allowed(call, str(error))
        except Exception as error:  # noqa: BLE001 - whatever one call meets, its batch goes on
            result = unanswered(call, type(error).__name__, 0.0)
        arrivals.add([result])

    async def _send(self, request: Request) -> Reply:
        url: URL = self._checked(request.url, request.calls[0].egress)
        outgoing = request.outgoing(self._secrets, datetime.now(UTC))
        if outgoing.path is not None:
            url = url.with_path(url.raw_path.rstrip("/") + outgoing.path, encoded=True)
        if outgoing.query is not None:
            url = url.update_query(outgoing.query)
        total = request.timeout_seconds
        async with self._session.request(
            request.method,
            url,
            data=outgoing.body,
            headers=outgoing.headers,
            allow_redirects=False,
            timeout=ClientTimeout(total=total, connect=total * CONNECT_SHARE),
        ) as response:
            body = await _read(response, request.reply_limit_bytes)
            return Reply(response.status, body, response.headers.get("Retry-After"), response.headers)


class _Arrivals:
    """Gathers results in the loop's thread and hands them over in groups."""

    def __init__(self, loop: asyncio.AbstractEventLoop, groups: Groups) -> None:
        self._loop = loop
        self._groups = groups
        self._gathered: list[ToolResult] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, results: list[ToolResult]) -> None:
        """Take results; they are handed over soon."""
        self._gathered += results
        if self._timer is None:
            self._timer = self._loop.call_later(GROUP_SECONDS, self._hand_over)

    def end(self) -> None:
        """Hand over the rest at once, and the sign that nothing follows."""
        self._hand_over()
        self._groups.put(None)

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            self._groups.put(self._gathered)
            self._gathered = []


async def _read(response: ClientResponse, limit: int) -> bytes | None:
    """The body; None when it is larger than `limit`, and then the connection is given up."""
    if response.content_length is not None and response.content_length <= limit:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            response.close()
            return None
    return bytes(body)


def _said(error: BaseException) -> str:
    """A cause for people. Only texts that are known to repeat nothing of the request are passed on."""
    if isinstance(error, PermanentError):
        return str(error)
    if isinstance(error, InvalidURL):
        return "its URL cannot be used; correct it in the pack"
    if isinstance(error, ClientConnectorCertificateError):
        return "its certificate is not trusted here"
    if isinstance(error, ClientConnectorError):
        return f"no connection to {error.host}:{error.port}"
    if isinstance(error, TimeoutError):
        return "timeout; raise the tool's timeoutSeconds or look at the tool"
    return type(error).__name__
