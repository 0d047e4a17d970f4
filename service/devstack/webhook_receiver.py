"""Receivers of webhooks at the demo tool server: they check who sent a message, and work each message once.

`PUT /webhooks/{name}` with `{"secret": "whsec_…"}` makes a receiver; `POST /webhooks/{name}` is its endpoint.
What it works is among `GET /calls` with its name as the tool and the webhook-id as the key.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from service.devstack.tool_calls import Call, CallLog, Outcome


class WebhookReceivers:
    """Receivers by name; they forget everything when the server ends."""

    def __init__(self, log: CallLog, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._receivers: dict[str, Webhook] = {}
        self._worked: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        """What the server serves of them."""
        return [web.put("/webhooks/{name}", self._open), web.post("/webhooks/{name}", self._receive)]

    async def _open(self, request: web.Request) -> web.Response:
        try:
            secret = orjson.loads(await request.read())["secret"]
            self._receivers[request.match_info["name"]] = Webhook(secret)
        except (ValueError, TypeError, KeyError):
            return web.json_response({"error": "the body is not an object with a `secret` like whsec_…"}, status=400)
        return web.Response(status=204)

    async def _receive(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        receiver = self._receivers.get(name)
        if receiver is None:
            return web.json_response({"error": "there is no such receiver"}, status=404)
        body = await request.read()
        try:
            receiver.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            self._note(request, body, 401, Outcome.FAILED)
            return web.json_response({"error": "the signature does not fit"}, status=401)
        message = (name, request.headers["webhook-id"])
        outcome = Outcome.REPLAYED if message in self._worked else Outcome.WORKED
        self._worked.add(message)
        self._note(request, body, 204, outcome)
        return web.Response(status=204)

    def _note(self, request: web.Request, body: bytes, status: int, outcome: Outcome) -> None:
        headers = request.headers
        digest = int.from_bytes(blake2b(body, digest_size=8).digest())
        tool, key, tenant = request.match_info["name"], headers.get("webhook-id"), headers.get("X-Tenant-Id")
        self._log.add(Call(tool, key, tenant, digest, self._clock(), status, outcome, batched=False))
