"""What an HTTP tool's definition does to the request and makes of the answer, against a small real server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Self

import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from service.tools import Answer, HttpToolClient, ToolResult
from tests.tools.given import TEXT, a_call, a_client, result_of, secrets_with

SIGNING = "whsec_" + base64.b64encode(b"a signing secret of 32 bytes ...").decode()
OLDER = "whsec_" + base64.b64encode(b"the one that was used until now.").decode()


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """Answers every request alike and remembers what it was asked."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Break the connection off instead of answering."""
    seen: list[Seen] = field(default_factory=list)

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

    @property
    def url(self) -> str:
        return f"http://{self.origin}"

    async def _start(self) -> tuple[web.AppRunner, int]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(Seen(request.method, request.raw_path, dict(request.query), dict(request.headers), body))
        if self.cut:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def client(listener: Listener) -> Iterator[HttpToolClient]:
    secrets = secrets_with(TOKEN="t0ken-value", PAIR="user:pa55word", SIGNING=f"{SIGNING} {OLDER}", BROKEN="whsec_!")
    with a_client(listener.origin, secrets=secrets) as client:
        yield client


def test_a_definition_shapes_the_request(listener: Listener, client: HttpToolClient) -> None:
    # given a tool with path, query, headers, body and version of its own
    definition = {
        "endpoint": f"{listener.url}/v1",
        "method": "PUT",
        "version": "2026-01",
        "parameters": {"id": TEXT, "amount": {"type": "number", "required": True}, "note": {"type": "string"}},
        "path": "/orders/{{ parameters.id }}/lines",
        "query": {"dry": "no", "note": "{{ parameters.note }}"},
        "headers": {"X-Order": "order {{ parameters.id }}", "X-Note": "{{ parameters.note }}"},
        "body": {"order": {"amount": "{{ parameters.amount }}"}, "note": "{{ parameters.note }}", "by": "ops"},
    }
    # when it is called without the optional parameter, and with a value that would be another path
    result = result_of(client, a_call(definition, {"id": "A/../1?x", "amount": 12.5}))
    # then types are kept, what was not given is left out, and the value stays one segment
    assert result.answer is Answer.CONFIRMED
    (seen,) = listener.seen
    assert (seen.method, seen.path) == ("PUT", "/v1/orders/A%2F..%2F1%3Fx/lines?dry=no")
    assert orjson.loads(seen.body) == {"order": {"amount": 12.5}, "by": "ops"}
    assert (seen.headers["X-Order"], seen.headers["X-Tool-Version"]) == ("order A/../1?x", "2026-01")
    assert "X-Note" not in seen.headers
    assert (seen.headers["Idempotency-Key"], seen.headers["X-Tenant-Id"]) == ("k1", "ACME")


def test_a_get_with_a_path_has_no_body(listener: Listener, client: HttpToolClient) -> None:
    definition = {
        "endpoint": listener.url,
        "method": "GET",
        "parameters": {"id": TEXT},
        "path": "/{{ parameters.id }}",
    }
    assert result_of(client, a_call(definition, {"id": "7"})).answer is Answer.CONFIRMED
    assert (listener.seen[0].path, listener.seen[0].body) == ("/7", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET", "DELETE"])
def test_a_call_that_is_cut_off_is_sent_once_whatever_its_method(
    listener: Listener, client: HttpToolClient, method: str
) -> None:
    # given a connection that is kept open, and a tool that then breaks it off after it was asked
    assert result_of(client, a_call({"endpoint": listener.url}, key="before")).answer is Answer.CONFIRMED
    listener.cut = True
    # when it is called, then the tool sees the key once
    result = result_of(client, a_call({"endpoint": listener.url, "method": method}, key="cut"))
    assert [seen.headers["Idempotency-Key"] for seen in listener.seen] == ["before", "cut"]
    assert result.answer is Answer.UNANSWERED


@pytest.mark.parametrize("value", ["", "..", "."])
def test_a_value_that_would_change_the_path_is_not_sent(listener: Listener, client: HttpToolClient, value: str) -> None:
    definition = {"endpoint": listener.url, "parameters": {"id": TEXT}, "path": "/a/{{ parameters.id }}/b"}
    assert result_of(client, a_call(definition, {"id": value})).answer is Answer.PERMANENT
    assert not listener.seen


def test_a_value_with_a_line_break_makes_no_header(listener: Listener, client: HttpToolClient) -> None:
    definition = {"endpoint": listener.url, "parameters": {"id": TEXT}, "headers": {"X-A": "{{ parameters.id }}"}}
    assert result_of(client, a_call(definition, {"id": "a\r\nX-Admin: yes"})).answer is Answer.PERMANENT
    assert not listener.seen


@pytest.mark.parametrize(
    ("auth", "header", "expected"),
    [
        ({"type": "bearer", "secret": "secret://env/TOKEN"}, "Authorization", "Bearer t0ken-value"),
        ({"type": "header", "name": "X-Key", "secret": "secret://env/TOKEN"}, "X-Key", "t0ken-value"),
        ({"type": "basic", "secret": "secret://env/PAIR"}, "Authorization", "Basic dXNlcjpwYTU1d29yZA=="),
        (
            {"type": "basic", "username": "ops", "secret": "secret://env/TOKEN"},
            "Authorization",
            "Basic " + base64.b64encode(b"ops:t0ken-value").decode(),
        ),
    ],
    ids=["bearer", "header", "basic", "basic with user"],
)
def test_a_secret_is_put_where_the_definition_wants_it(
    listener: Listener, client: HttpToolClient, auth: dict[str, str], header: str, expected: str
) -> None:
    call = a_call({"endpoint": listener.url, "auth": auth})
    assert "t0ken" not in str(call.call)
    assert result_of(client, call).answer is Answer.CONFIRMED
    assert listener.seen[0].headers[header] == expected


def test_a_secret_in_the_query_goes_there(listener: Listener, client: HttpToolClient) -> None:
    auth = {"type": "query", "name": "api_key", "secret": "secret://env/TOKEN"}
    assert result_of(client, a_call({"endpoint": listener.url, "auth": auth})).answer is Answer.CONFIRMED
    assert listener.seen[0].query == {"api_key": "t0ken-value"}


def test_a_secret_that_is_not_there_is_named_and_nothing_is_sent(listener: Listener, client: HttpToolClient) -> None:
    auth = {"type": "bearer", "secret": "secret://env/GONE"}
    result = result_of(client, a_call({"endpoint": listener.url, "auth": auth}))
    assert result.answer is Answer.PERMANENT
    assert "secret://env/GONE" in (result.error or "")
    assert not listener.seen


def test_a_reference_that_comes_with_an_exception_is_only_text(listener: Listener, client: HttpToolClient) -> None:
    # given somebody who sends a reference in a field that a tool hands on
    definition = {
        "endpoint": listener.url,
        "parameters": {"id": TEXT},
        "headers": {"X-Id": "{{ parameters.id }}"},
        "body": {"id": "{{ parameters.id }}"},
    }
    # when it is called, then it is sent as it stands and never looked up
    assert result_of(client, a_call(definition, {"id": "secret://env/TOKEN"})).answer is Answer.CONFIRMED
    assert listener.seen[0].headers["X-Id"] == "secret://env/TOKEN"
    assert b"t0ken" not in listener.seen[0].body


def test_items_of_a_batch_go_with_the_tools_proof(listener: Listener, client: HttpToolClient) -> None:
    listener.body = orjson.dumps({"items": [{"idempotencyKey": "k1", "status": "ok"}]})
    definition = {
        "endpoint": listener.url,
        "batchEndpoint": f"{listener.url}/batch",
        "auth": {"type": "bearer", "secret": "secret://env/TOKEN"},
    }
    assert result_of(client, a_call(definition, {"id": "1"})).answer is Answer.CONFIRMED
    assert listener.seen[0].headers["Authorization"] == "Bearer t0ken-value"


PICKING = {"response": {"id": "body.data.0.id", "code": "status", "etag": "headers.ETag", "gone": "body.no.such"}}


def answered(client: HttpToolClient, listener: Listener, **definition: Any) -> ToolResult:
    return result_of(client, a_call({"endpoint": listener.url, **definition}))


def test_the_output_is_what_the_definition_picks(listener: Listener, client: HttpToolClient) -> None:
    listener.status, listener.body, listener.headers = 201, b'{"data": [{"id": 7}], "noise": 1}', {"ETag": "w1"}
    result = answered(client, listener, **PICKING)
    assert result.output == {"id": 7, "code": 201, "etag": "w1", "gone": None}


@pytest.mark.parametrize(
    ("body", "extra", "expected"),
    [
        (b'{"state": "done"}', {}, Answer.CONFIRMED),
        (b'{"state": "refused"}', {}, Answer.PERMANENT),
        (b'{"state": "refused"}', {"onFalse": "retry"}, Answer.TRANSIENT),
        (b"{}", {}, Answer.UNANSWERED),
        (b"{}", {"idempotent": True}, Answer.PERMANENT),
        (b"not JSON", {}, Answer.UNANSWERED),
    ],
    ids=["true", "false", "false, retry", "undecided", "undecided, idempotent", "not JSON"],
)
def test_success_is_what_the_definition_says(
    listener: Listener, client: HttpToolClient, body: bytes, extra: dict[str, Any], expected: Answer
) -> None:
    listener.body = body
    assert answered(client, listener, success="body.state == 'done'", **extra).answer is expected


def test_success_is_not_asked_where_the_status_says_no(listener: Listener, client: HttpToolClient) -> None:
    listener.status = 500
    assert answered(client, listener, success="true").answer is Answer.UNANSWERED


def a_webhook(listener: Listener, secret: str = "secret://env/SIGNING") -> dict[str, Any]:
    return {
        "kind": "webhook",
        "endpoint": listener.url,
        "signingSecret": secret,
        "parameters": {"id": TEXT},
        "body": {"type": "order.late", "data": {"id": "{{ parameters.id }}"}},
    }


def test_a_webhooks_receiver_can_check_who_sent_it(listener: Listener, client: HttpToolClient) -> None:
    # given a receiver that answers with words of its own
    listener.body = b"thank you"
    # when it is called
    result = result_of(client, a_call(a_webhook(listener), {"id": "Ü-1"}, key="0199-key"))
    # then that is a confirmation, the key is the message's id, and both secrets of a rotation check
    assert (result.answer, result.output) == (Answer.CONFIRMED, {"status": 200})
    (seen,) = listener.seen
    assert seen.headers["webhook-id"] == "0199-key"
    for secret in (SIGNING, OLDER):
        assert Webhook(secret).verify(seen.body, seen.headers) == {"type": "order.late", "data": {"id": "Ü-1"}}
    # and a body that was changed on the way does not
    with pytest.raises(WebhookVerificationError):
        Webhook(SIGNING).verify(seen.body.replace(b"late", b"lost"), seen.headers)


def test_a_webhook_whose_secret_is_none_is_not_sent(listener: Listener, client: HttpToolClient) -> None:
    result = result_of(client, a_call(a_webhook(listener, "secret://env/BROKEN"), {"id": "1"}))
    assert result.answer is Answer.PERMANENT
    assert "whsec_!" not in (result.error or "")
    assert not listener.seen


@pytest.mark.parametrize(
    ("status", "expected"),
    [(204, Answer.CONFIRMED), (410, Answer.PERMANENT), (503, Answer.TRANSIENT), (500, Answer.UNANSWERED)],
)
def test_a_webhooks_status_is_judged_like_any_tools(
    listener: Listener, client: HttpToolClient, status: int, expected: Answer
) -> None:
    listener.status, listener.body = status, b""
    assert result_of(client, a_call(a_webhook(listener), {"id": "1"})).answer is expected


def test_a_kind_that_is_not_set_up_is_refused_and_its_neighbours_go_on(
    listener: Listener, client: HttpToolClient
) -> None:
    mail = a_call({"kind": "smtp", "to": ["a@example.com"], "subject": "s", "text": "t"}, key="mail")
    web_call = a_call({"endpoint": listener.url}, key="web")
    answers = {result.key: result.answer for group in client.results([mail, web_call]) for result in group}
    assert answers == {"mail": Answer.PERMANENT, "web": Answer.CONFIRMED}
