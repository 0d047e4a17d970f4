"""The HTTP client on the wire, against a small real server."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from service.domain.plans import ToolCall
from service.tools import Answer, EgressGuard, HttpToolClient, PreparedCall, ToolResult
from service.tools.answers import OUTPUT_LIMIT_BYTES, Reply
from service.tools.limits import CallLimits, CallSlots
from tests.conformance.tools.scripted_server import ScriptedServer

CONCURRENCY = 4


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def client(server: ScriptedServer) -> Iterator[HttpToolClient]:
    client = HttpToolClient(CallSlots(CallLimits.alike(CONCURRENCY)), EgressGuard([server.origin]))
    yield client
    client.close()


def a_call(server: ScriptedServer, key: str, *, batched: bool = False, timeout: float = 5.0) -> PreparedCall:
    url = f"http://{server.origin}"
    tool = ToolCall(
        "settle",
        f"{url}/settle",
        {"order": key},
        timeout_seconds=timeout,
        batch_url=f"{url}/batch" if batched else None,
    )
    return PreparedCall(key, "TENANT_A", tool)


def all_results(client: HttpToolClient, calls: list[PreparedCall]) -> dict[str, ToolResult]:
    return {result.key: result for group in client.results(calls) for result in group}


def test_the_tool_sees_key_tenant_and_parameters(server: ScriptedServer, client: HttpToolClient) -> None:
    all_results(client, [a_call(server, "k1"), a_call(server, "k2", batched=True)])
    assert sorted(server.seen) == [("k1", "TENANT_A", {"order": "k1"}), ("k2", "TENANT_A", {"order": "k2"})]


def test_connections_are_kept_and_bounded(server: ScriptedServer, client: HttpToolClient) -> None:
    server.delay_seconds = 0.005
    for batch in range(3):
        all_results(client, [a_call(server, f"{batch}-{number}") for number in range(20)])
    assert server.requests == 60
    assert server.most_at_once == CONCURRENCY
    assert len(server.connections) == CONCURRENCY


def test_a_batch_of_calls_is_one_request(server: ScriptedServer, client: HttpToolClient) -> None:
    results = all_results(client, [a_call(server, str(number), batched=True) for number in range(100)])
    assert {result.answer for result in results.values()} == {Answer.CONFIRMED}
    assert server.requests == 1


def test_one_malformed_item_fails_alone(server: ScriptedServer, client: HttpToolClient) -> None:
    # given a tool that refuses a whole batch for one item it does not understand
    server.batch_reply, server.refused_key = Reply(400, b""), "13"
    # when a hundred items are sent
    results = all_results(client, [a_call(server, str(number), batched=True) for number in range(100)])
    # then only that item is refused
    assert [key for key, result in results.items() if result.answer is not Answer.CONFIRMED] == ["13"]
    assert results["13"].answer is Answer.PERMANENT


def test_a_broken_batch_leaves_all_its_items_open(server: ScriptedServer, client: HttpToolClient) -> None:
    server.batch_reply = Reply(502, b"")
    results = all_results(client, [a_call(server, str(number), batched=True) for number in range(3)])
    assert [result.answer for result in results.values()] == [Answer.UNANSWERED] * 3
    assert server.requests == 1


def test_a_tool_that_does_not_answer_costs_its_timeout(server: ScriptedServer, client: HttpToolClient) -> None:
    server.delay_seconds = 60.0
    began = time.monotonic()
    result = all_results(client, [a_call(server, "k1", timeout=0.2)])["k1"]
    assert result.answer is Answer.UNANSWERED
    assert "timeoutSeconds" in (result.error or "")
    assert time.monotonic() - began < 20


def test_a_host_that_does_not_accept_was_not_called() -> None:
    # given a listener whose queue is full, so that connecting takes for ever
    with closing(socket.socket()) as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(closing(socket.socket()))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        origin = f"127.0.0.1:{listener.getsockname()[1]}"
        client = waiting.enter_context(closing(HttpToolClient(CallSlots(CallLimits.alike(1)), EgressGuard([origin]))))
        call = PreparedCall("k1", "A", ToolCall("settle", f"http://{origin}/x", {}, timeout_seconds=0.5))
        # when it is called, then it may be called again, for no request went out
        assert all_results(client, [call])["k1"].answer is Answer.TRANSIENT


def test_results_come_in_groups_before_the_slowest_is_done(server: ScriptedServer, client: HttpToolClient) -> None:
    # given one slow call among quick ones
    server.delays["slow"] = 1.0
    calls = [a_call(server, key) for key in ("slow", *map(str, range(20)))]
    # when they are made, then the quick ones are handed over while the slow one is under way, several at a time
    keys = [[result.key for result in group] for group in client.results(calls)]
    assert keys[-1] == ["slow"]
    assert len(keys) < 15


def test_a_redirect_is_not_followed(server: ScriptedServer, client: HttpToolClient) -> None:
    # it might lead where the guard does not allow, and would carry the parameters there
    server.script["k1"] = Reply(307, b"")
    assert all_results(client, [a_call(server, "k1")])["k1"].answer is Answer.PERMANENT
    assert server.requests == 1


def test_a_large_answer_is_not_read_to_its_end(server: ScriptedServer, client: HttpToolClient) -> None:
    server.script["k1"] = Reply(200, b'{"x":"' + b"y" * 50 * OUTPUT_LIMIT_BYTES + b'"}')
    result = all_results(client, [a_call(server, "k1")])["k1"]
    assert result.answer is Answer.UNANSWERED
    assert "too large" in (result.error or "")
    # and the client goes on
    assert all_results(client, [a_call(server, "k2")])["k2"].answer is Answer.CONFIRMED


def test_what_the_guard_refuses_is_not_called(server: ScriptedServer) -> None:
    client = HttpToolClient(CallSlots(CallLimits.alike(CONCURRENCY)), EgressGuard())
    result = all_results(client, [a_call(server, "k1")])["k1"]
    assert result.answer is Answer.PERMANENT
    assert f"add {server.origin} to SENTINAI_EGRESS_ALLOW" in (result.error or "")
    # nor by a name: localhost resolves to a private address
    named = PreparedCall("k2", "A", ToolCall("settle", f"https://localhost:{server.port}/x", {}))
    result = all_results(client, [named])["k2"]
    assert result.answer is Answer.PERMANENT
    assert f"add localhost:{server.port}" in (result.error or "")
    assert server.requests == 0
    client.close()


def test_retry_after_is_passed_on(server: ScriptedServer, client: HttpToolClient) -> None:
    server.script["k1"] = Reply(503, b"", retry_after="7")
    assert all_results(client, [a_call(server, "k1")])["k1"].retry_after_seconds == 7.0


def test_an_abandoned_iterator_abandons_its_calls(server: ScriptedServer, client: HttpToolClient) -> None:
    # given more calls than are made at once, and a caller that leaves after the first group
    server.delay_seconds = 0.1
    iterator = client.results([a_call(server, str(number)) for number in range(100)])
    next(iterator)
    iterator.close()
    # when other work follows, then it is served at once and the abandoned calls are not made
    assert all_results(client, [a_call(server, "k1")])["k1"].answer is Answer.CONFIRMED
    assert server.requests < 20


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(server: ScriptedServer, client: HttpToolClient) -> None:
    # given a client that was used before the fork, as when a worker's parent warms up
    all_results(client, [a_call(server, "parent")])
    # when a child uses it
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that hangs must not outlive the test
        answered = all_results(client, [a_call(server, "child")])["child"].answer is Answer.CONFIRMED
        os._exit(0 if answered else 1)
    # then it works there, and goes on working here
    assert os.waitpid(child, 0)[1] == 0
    assert all_results(client, [a_call(server, "after")])["after"].answer is Answer.CONFIRMED
    assert len(server.connections) == 2
