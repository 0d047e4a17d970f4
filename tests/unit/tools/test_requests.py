"""How calls become requests, and one answer becomes a result for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.domain.plans import ToolCall
from service.tools.answers import OUTPUT_LIMIT_BYTES, Reply
from service.tools.calls import Answer, PreparedCall
from service.tools.http_client import NO_SECRETS
from service.tools.requests import ITEMS_PER_REQUEST, Request, UnsendableCallError, plan_requests

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def a_call(
    key: str, *, tenant: str = "A", tool: str = "settle", batch_url: str | None = "https://t.example/batch"
) -> PreparedCall:
    return PreparedCall(key, tenant, ToolCall(tool, "https://t.example/one", {"order": key}, batch_url=batch_url))


def a_batch(*keys: str) -> Request:
    return Request("https://t.example/batch", tuple(a_call(key) for key in keys), batched=True)


def answered(request: Request, items: Sequence[Any]) -> dict[str, Answer]:
    reply = Reply(200, orjson.dumps({"items": items}))
    return {result.key: result.answer for result in request.results(reply, 0.1, NOW)}


def test_a_batch_never_mixes_tenants_or_tools() -> None:
    calls = [a_call("1"), a_call("2", tenant="B"), a_call("3"), a_call("4", tool="notify"), a_call("5", batch_url=None)]
    requests = [(request.batched, [call.key for call in request.calls]) for request in plan_requests(calls)]
    assert sorted(requests) == [(False, ["5"]), (True, ["1", "3"]), (True, ["2"]), (True, ["4"])]


def test_a_batch_is_bounded() -> None:
    sizes = [len(request.calls) for request in plan_requests([a_call(str(number)) for number in range(250)])]
    assert sizes == [ITEMS_PER_REQUEST, ITEMS_PER_REQUEST, 50]


def test_every_item_has_its_own_result() -> None:
    items = [
        {"idempotencyKey": "failed", "status": "failed", "error": "CLOSED"},
        {"idempotencyKey": "busy", "status": "failed", "error": {"status": 503}},
        {"idempotencyKey": "ok", "status": "ok", "output": {"reference": "R"}},
        {"idempotencyKey": "odd", "status": "perhaps"},
        {"idempotencyKey": "list", "status": "ok", "output": [1]},
        {"idempotencyKey": "stranger", "status": "ok"},
        "not an item",
    ]
    assert answered(a_batch("ok", "failed", "busy", "odd", "list", "missing"), items) == {
        "ok": Answer.CONFIRMED,
        "failed": Answer.PERMANENT,
        "busy": Answer.TRANSIENT,
        "odd": Answer.UNANSWERED,
        "list": Answer.UNANSWERED,
        "missing": Answer.UNANSWERED,
    }


@pytest.mark.parametrize("output", [{"x": "y" * OUTPUT_LIMIT_BYTES}, {"x": "\0"}], ids=["too large", "not storable"])
def test_an_output_that_cannot_be_kept_harms_no_other_item(output: dict[str, str]) -> None:
    items = [
        {"idempotencyKey": "1", "status": "ok", "output": output},
        {"idempotencyKey": "2", "status": "ok", "output": {"x": "y"}},
    ]
    assert answered(a_batch("1", "2"), items) == {"1": Answer.UNANSWERED, "2": Answer.CONFIRMED}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"items": {}}', b'{"items": "no"}', b"[]"])
def test_an_answer_without_items_leaves_every_item_open(body: bytes) -> None:
    results = a_batch("1", "2").results(Reply(200, body), 0.1, NOW)
    assert [result.answer for result in results] == [Answer.UNANSWERED, Answer.UNANSWERED]


def test_a_batch_refused_for_its_content_is_divided_until_the_bad_item_is_alone() -> None:
    refusal = Reply(422, b"")
    first, second = a_batch("1", "2", "3").divided_after(refusal)
    assert ([call.key for call in first.calls], [call.key for call in second.calls]) == (["1"], ["2", "3"])
    assert first.divided_after(refusal) == ()
    assert a_batch("1", "2").divided_after(Reply(401, b"")) == ()
    assert a_batch("1", "2").divided_after(Reply(200, b"")) == ()


def test_what_cannot_be_sent_says_so() -> None:
    strange = PreparedCall("1", "A", ToolCall("settle", "https://t.example", {"amount": 1 << 70}))
    with pytest.raises(UnsendableCallError, match="no JSON form"):
        Request("https://t.example", (strange,), batched=False).outgoing(NO_SECRETS, NOW)
    traced = PreparedCall("1", "A", ToolCall("settle", "https://t.example", {}, method="TRACE"))
    with pytest.raises(UnsendableCallError, match="TRACE"):
        _ = Request("https://t.example", (traced,), batched=False).method
