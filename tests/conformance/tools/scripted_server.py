"""A small real HTTP server whose answers a test writes down beforehand, key by key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Self

import orjson
from aiohttp import web

from service.tools.answers import Reply

NO_ANSWER = "no answer"
"""The connection is broken off after the request was read."""
NO_CONNECTION = "no connection"
"""The tool's port is closed."""

Behaviour = Reply | str


@dataclass
class ScriptedServer:
    """Answers each idempotency key as scripted, 200 and `{}` otherwise, and remembers what it was asked."""

    script: dict[str, Behaviour] = field(default_factory=dict)
    delay_seconds: float = 0.0
    delays: dict[str, float] = field(default_factory=dict)
    """Longer for some keys."""
    batch_reply: Reply | None = None
    """When set, the answer to every batch with more than one item, or with `refused_key` among them."""
    refused_key: str | None = None
    location: str = "/elsewhere"
    """Where answers of 3xx lead."""
    seen: list[tuple[str | None, str | None, Any]] = field(default_factory=list)
    """Key, tenant and parameters of each call and item, in the order they arrived."""
    requests: int = 0
    connections: set[int] = field(default_factory=set)
    most_at_once: int = 0
    _at_once: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runner, self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def origin(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _start(self) -> tuple[web.AppRunner, int]:
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/batch", self._batch)
        application.router.add_route("*", "/{path:.*}", self._single)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def _single(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key")
        await self._arrived(request)
        self.seen.append((key, request.headers.get("X-Tenant-Id"), orjson.loads(await request.read() or b"null")))
        return await self._answer(request, self.script.get(key or "", Reply(200, b"{}")))

    async def _batch(self, request: web.Request) -> web.Response:
        await self._arrived(request)
        items = orjson.loads(await request.read())["items"]
        tenant = request.headers.get("X-Tenant-Id")
        self.seen += [(item["idempotencyKey"], tenant, item["parameters"]) for item in items]
        keys = [item["idempotencyKey"] for item in items]
        if self.batch_reply is not None and (self.refused_key is None or self.refused_key in keys):
            return await self._answer(request, self.batch_reply)
        answers = [_item(key, self.script.get(key, Reply(200, b"{}"))) for key in keys]
        body = orjson.dumps({"items": [answer for answer in answers if answer is not None]})
        return await self._answer(request, Reply(200, body))

    async def _arrived(self, request: web.Request) -> None:
        self.requests += 1
        self.connections.add(id(request.transport))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(self.delays.get(request.headers.get("Idempotency-Key", ""), self.delay_seconds))
        self._at_once -= 1

    async def _answer(self, request: web.Request, behaviour: Behaviour) -> web.Response:
        if isinstance(behaviour, str):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        headers = {"Retry-After": behaviour.retry_after} if behaviour.retry_after else {}
        if 300 <= behaviour.status < 400:
            headers["Location"] = self.location
        return web.Response(status=behaviour.status, body=behaviour.body, headers=headers)


def _item(key: str, behaviour: Behaviour) -> dict[str, Any] | None:
    if isinstance(behaviour, str):
        return None
    if behaviour.status >= 300:
        return {"idempotencyKey": key, "status": "failed", "error": {"status": behaviour.status}}
    return {"idempotencyKey": key, "status": "ok", "output": orjson.loads(behaviour.body or b"null")}
