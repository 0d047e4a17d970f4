"""The demo tool server: a real HTTP server that tools are called on, and that can be told to misbehave.

It records every call with its Idempotency-Key, so that a test or a demo can ask whether anything happened
twice. It serves loopback only and knows no secrets. Its routes are described in docs/local-stack.md.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from service.devstack.tool_behaviour import NORMAL, Behaviour, Desk, Verdict, merged
from service.devstack.tool_calls import Call, CallLog, Outcome
from service.devstack.webhook_receiver import WebhookReceivers

CAPACITY = 1_000_000
LARGEST_BODY = 64 * 1024 * 1024
LONGEST_HANG_SECONDS = 600
_MOST_LISTED = 10_000


class _BadRequestError(Exception):
    """The caller's fault; the message is the answer."""


class ToolServer:
    """Routes over a call log and a behaviour per tool."""

    def __init__(self, capacity: int = CAPACITY, clock: Callable[[], float] = time.time) -> None:
        self._log = CallLog(capacity)
        self._desk = Desk()
        self._behaviours: dict[str, Behaviour] = {}
        self._clock = clock

    def application(self) -> web.Application:
        """The aiohttp application."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.add_routes(
            [
                web.post("/tools/{name}", _answering(self._call)),
                web.post("/tools/{name}/batch", _answering(self._call_batch)),
                web.get("/calls", _answering(self._list_calls)),
                web.get("/calls/summary", _answering(self._summarise)),
                web.delete("/calls", _answering(self._forget_calls)),
                web.get("/behaviours", _answering(self._list_behaviours)),
                web.put("/behaviours/{name}", _answering(self._set_behaviour)),
                web.delete("/behaviours/{name}", _answering(self._reset_behaviour)),
                web.delete("/behaviours", _answering(self._reset_behaviours)),
                web.get("/healthz", _answering(self._health)),
                *WebhookReceivers(self._log, self._clock).routes(),
            ]
        )
        return application

    async def _call(self, request: web.Request) -> web.Response:
        body = await request.read()
        fields = _object(body, "the body")
        tool, tenant = request.match_info["name"], _tenant(request)
        key = request.headers.get("Idempotency-Key")
        digest = _digest(body)
        behaviour = _behaviour(self._of(tool), fields)
        if behaviour.hang:
            self._log.add(Call(tool, key, tenant, digest, self._clock(), 0, Outcome.HUNG, False))
            return await _hang(request)
        if behaviour.delaySeconds:
            await asyncio.sleep(behaviour.delaySeconds)
        verdict, number = self._work(behaviour, tool, key, tenant, digest, batched=False)
        headers = {str(name): value for name, value in request.headers.items()}
        echo = {"headers": headers} if behaviour.echoHeaders else {}
        if verdict.status >= 400:
            return _json({"status": "failed", "tool": tool, "error": _error(verdict), **echo}, verdict.status)
        return _json({"status": "ok", "tool": tool, "reference": f"{tool}-{number}", **echo})

    async def _call_batch(self, request: web.Request) -> web.Response:
        items = _items(_object(await request.read(), "the body"))
        tool, tenant = request.match_info["name"], _tenant(request)
        of_tool = self._of(tool)
        behaviours = [_behaviour(of_tool, item) for item in items]
        keys = [_item_key(item) for item in items]
        digests = [_digest(orjson.dumps(item.get("parameters"))) for item in items]
        if any(behaviour.hang for behaviour in behaviours):
            for key, digest in zip(keys, digests, strict=True):
                self._log.add(Call(tool, key, tenant, digest, self._clock(), 0, Outcome.HUNG, True))
            return await _hang(request)
        delay = max((behaviour.delaySeconds for behaviour in behaviours), default=0)
        if delay:
            await asyncio.sleep(delay)
        answers = []
        for behaviour, key, digest in zip(behaviours, keys, digests, strict=True):
            verdict, number = self._work(behaviour, tool, key, tenant, digest, batched=True)
            answers.append(_item_answer(tool, key, verdict, number))
        if of_tool.status is not None:
            return _json({"status": "failed", "tool": tool, "error": _error(Verdict(of_tool.status))}, of_tool.status)
        return _json({"items": answers})

    def _work(
        self, behaviour: Behaviour, tool: str, key: str | None, tenant: str | None, digest: int, *, batched: bool
    ) -> tuple[Verdict, int]:
        """Decide, record, and return the number of the call whose effect the answer speaks of."""
        # Without a key two equal bodies are one call as far as failing n times goes.
        identity = key if key is not None else f"body {digest}"
        verdict = self._desk.judge(behaviour, identity)
        outcome = Outcome.WORKED if verdict.replay_of is None else Outcome.REPLAYED
        if verdict.status >= 400:
            outcome = Outcome.FAILED
        number = self._log.add(Call(tool, key, tenant, digest, self._clock(), verdict.status, outcome, batched))
        if outcome is Outcome.WORKED:
            self._desk.worked(behaviour, identity, number)
        return verdict, verdict.replay_of or number

    def _of(self, tool: str) -> Behaviour:
        return self._behaviours.get(tool, NORMAL)

    async def _list_calls(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit", "100")
        if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_LISTED:
            raise _BadRequestError(f"limit is a number from 1 to {_MOST_LISTED}")
        return _json({"items": self._log.find(request.query.get("key"), request.query.get("tool"), int(limit))})

    async def _summarise(self, _request: web.Request) -> web.Response:
        return _json(self._log.summary())

    async def _forget_calls(self, _request: web.Request) -> web.Response:
        self._log.clear()
        self._desk.clear()
        return web.Response(status=204)

    async def _list_behaviours(self, _request: web.Request) -> web.Response:
        return _json({tool: behaviour.model_dump() for tool, behaviour in self._behaviours.items()})

    async def _set_behaviour(self, request: web.Request) -> web.Response:
        behaviour = merged(NORMAL, _object(await request.read(), "the body"))
        self._behaviours[request.match_info["name"]] = behaviour
        return _json(behaviour.model_dump())

    async def _reset_behaviour(self, request: web.Request) -> web.Response:
        self._behaviours.pop(request.match_info["name"], None)
        return web.Response(status=204)

    async def _reset_behaviours(self, _request: web.Request) -> web.Response:
        self._behaviours.clear()
        return web.Response(status=204)

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok"})


_Handler = Callable[[web.Request], Awaitable[web.Response]]


def _answering(handler: _Handler) -> _Handler:
    """The handler, with the caller's mistakes answered 400."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except _BadRequestError as error:
            return _json({"status": "failed", "error": {"status": 400, "message": str(error)}}, 400)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            return _json({"status": "failed", "error": {"status": 400, "message": f"simulate: {faults}"}}, 400)

    return answer


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _object(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _BadRequestError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise _BadRequestError(f"{what} is not a JSON object")
    return value


def _items(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = fields.get("items")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _BadRequestError("items is not a list of objects")
    return items


def _behaviour(tool: Behaviour, fields: Mapping[str, Any]) -> Behaviour:
    """The tool's behaviour with the `simulate` beside or inside the parameters."""
    simulate = fields.get("simulate")
    if simulate is None and isinstance(parameters := fields.get("parameters"), dict):
        simulate = parameters.get("simulate")
    if simulate is not None and not isinstance(simulate, dict):
        raise _BadRequestError("simulate is not an object")
    return merged(tool, simulate)


def _item_key(item: Mapping[str, Any]) -> str | None:
    key = item.get("idempotencyKey")
    return key if isinstance(key, str) else None


def _item_answer(tool: str, key: str | None, verdict: Verdict, number: int) -> dict[str, Any]:
    if verdict.status >= 400:
        return {"idempotencyKey": key, "status": "failed", "error": _error(verdict)}
    return {"idempotencyKey": key, "status": "ok", "output": {"tool": tool, "reference": f"{tool}-{number}"}}


def _error(verdict: Verdict) -> dict[str, Any]:
    return {"status": verdict.status, "message": "the demo tool was told to fail"}


def _tenant(request: web.Request) -> str | None:
    return request.headers.get("X-Tenant-Id")


def _digest(body: bytes) -> int:
    return int.from_bytes(blake2b(body, digest_size=8).digest())


async def _hang(request: web.Request) -> web.Response:
    """Give no answer until the caller has gone."""
    deadline = time.monotonic() + LONGEST_HANG_SECONDS
    while request.transport is not None and not request.transport.is_closing() and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    return web.Response(status=504)


def main() -> None:
    """Serve on the loopback port given by --port until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m service.devstack.toolserver", description="The demo tool server.")
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    port = parser.parse_args().port
    application = ToolServer().application()
    # A waiting call must not hold up the end of the stack.
    web.run_app(application, host="127.0.0.1", port=port, access_log=None, print=None, shutdown_timeout=1.0)


if __name__ == "__main__":
    main()
