"""From calls to HTTP requests and back: a call that goes alone, and calls that go as the items of a batch. Pure.

The batch protocol: `POST` of `{"items": [{"idempotencyKey", "parameters"}]}` to the tool's `batch_url`,
answered by `{"items": [{"idempotencyKey", "status": "ok" | "failed", "output" | "error"}]}`, where an error
is a code or `{"status": <HTTP status>}`. An answer
other than 2xx says that no item was worked, or leaves it open, for all of them alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from service.secrets import Secrets
from service.tools.answers import (
    OUTPUT_LIMIT_BYTES,
    Reply,
    UnreadableReplyError,
    failed_item,
    json_object,
    judge,
    refused,
    require_storable,
    unanswered,
    unreadable,
)
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.egress import EgressRules
from service.tools.shaping import Outgoing, UnsendableCallError, add_auth, json_body, own_headers, shaped

ITEMS_PER_REQUEST = 100
"""The most items of one batch request: large enough that HTTP costs little per item."""

BATCH_REPLY_LIMIT_BYTES = 16 * 1024 * 1024
"""The largest answer to a batch that is read, whatever its items might have."""

_METHODS = frozenset({"DELETE", "GET", "PATCH", "POST", "PUT"})
_BLAMES_THE_CONTENT = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request for one call, or for many of one tenant and tool."""

    url: str
    calls: tuple[PreparedCall, ...]
    batched: bool

    @property
    def method(self) -> str:
        """The HTTP method. Raises UnsendableCallError for one that a tool cannot have."""
        if self.batched:
            return "POST"
        method = self.calls[0].call.method.upper()
        if method not in _METHODS:
            raise UnsendableCallError(f"its method {method!r} is not one of {', '.join(sorted(_METHODS))}")
        return method

    @property
    def timeout_seconds(self) -> float:
        """How long the whole request may take."""
        return max(call.call.timeout_seconds for call in self.calls)

    @property
    def reply_limit_bytes(self) -> int:
        """The largest body that is read."""
        return min(OUTPUT_LIMIT_BYTES * len(self.calls), BATCH_REPLY_LIMIT_BYTES)

    def outgoing(self, secrets: Secrets, now: datetime) -> Outgoing:
        """What is sent. Raises UnsendableCallError, SecretUnavailableError."""
        first = self.calls[0]
        if self.batched:
            return self._outgoing_batch(first, secrets)
        if first.call.options:
            return shaped(first, secrets, now)
        headers = {"X-Tenant-Id": first.tenant_id, "Idempotency-Key": first.key}
        return Outgoing(json_body(first.call.parameters), headers)

    def _outgoing_batch(self, first: PreparedCall, secrets: Secrets) -> Outgoing:
        items = [{"idempotencyKey": call.key, "parameters": call.call.parameters} for call in self.calls]
        headers = own_headers(first.tenant_id, first.call.options, {})
        query: dict[str, str] = {}
        add_auth(first.call.options.get("auth"), first.tenant_id, secrets, headers, query)
        return Outgoing(json_body({"items": items}), headers, query=query or None)

    def divided_after(self, reply: Reply) -> tuple[Request, ...]:
        """The halves to send instead, when the tool refused the batch for something in it; else nothing.

        So one malformed item fails alone and not with its ninety-nine neighbours of other exceptions.
        """
        if reply.status not in _BLAMES_THE_CONTENT or len(self.calls) < 2:
            return ()
        middle = len(self.calls) // 2
        halves = (self.calls[:middle], self.calls[middle:])
        return tuple(Request(self.url, half, batched=True) for half in halves)

    def results(self, reply: Reply, duration: float, now: datetime) -> list[ToolResult]:
        """The result of each call, told from the answer."""
        if not self.batched:
            return [judge(self.calls[0], reply, duration, now)]
        if not 200 <= reply.status < 300:
            return [refused(call, reply, duration, now) for call in self.calls]
        try:
            answered = _answered_items(reply.body)
        except UnreadableReplyError as error:
            return [unreadable(call, str(error), duration) for call in self.calls]
        each = not _storable_whole(reply.body or b"")
        return [_item_result(call, answered.get(call.key), duration, check=each) for call in self.calls]


def plan_requests(calls: Iterable[PreparedCall]) -> Iterator[Request]:
    """The requests that make these calls: batches by tenant, tool and URL, and the rest one by one."""
    batches: dict[tuple[str, str, str, EgressRules, bytes], list[PreparedCall]] = {}
    for call in calls:
        url = call.call.batch_url
        if url is None:
            yield Request(call.call.url, (call,), batched=False)
        else:
            # Two versions of a pack may say differently who calls: their items do not go together.
            options = orjson.dumps(call.call.options) if call.call.options else b""
            batches.setdefault((call.tenant_id, call.call.tool, url, call.egress, options), []).append(call)
    for (_, _, url, _, _), members in batches.items():
        for start in range(0, len(members), ITEMS_PER_REQUEST):
            yield Request(url, tuple(members[start : start + ITEMS_PER_REQUEST]), batched=True)


def _answered_items(body: bytes | None) -> Mapping[object, Mapping[str, Any]]:
    document = json_object(body)
    items = document.get("items") if document is not None else None
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise UnreadableReplyError('has no array "items"')
    return {
        key: item for item in items if isinstance(item, dict) and isinstance(key := item.get("idempotencyKey"), str)
    }


def _storable_whole(body: bytes) -> bool:
    """True for nearly every answer, and spares the check of each item."""
    try:
        require_storable(body)
    except UnreadableReplyError:
        return False
    return True


def _item_result(call: PreparedCall, item: Mapping[str, Any] | None, duration: float, *, check: bool) -> ToolResult:
    if item is None:
        return unanswered(call, "the batch's answer does not name this item", duration)
    status, output = item.get("status"), item.get("output")
    if status == "failed":
        return failed_item(call, item.get("error"), duration)
    if status != "ok":
        return unanswered(call, 'the item\'s status is neither "ok" nor "failed"', duration)
    if output is not None and not isinstance(output, dict):
        return unreadable(call, "is not a JSON object", duration)
    if check:
        try:
            require_storable(orjson.dumps(output))
        except UnreadableReplyError as error:
            return unreadable(call, str(error), duration)
    return ToolResult(call.key, Answer.CONFIRMED, output=output, duration_seconds=duration)
