"""The demo tool server, as a caller and as a test that inspects it see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from service.devstack.toolserver import ToolServer

Story = Callable[[ClientSession], Awaitable[None]]


def _told(story: Story, capacity: int = 100) -> None:
    """Run a story against a server of its own."""

    async def run() -> None:
        runner = web.AppRunner(ToolServer(capacity).application(), shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            async with ClientSession(f"http://{host}:{port}", timeout=ClientTimeout(total=5)) as client:
                await story(client)
        finally:
            await runner.cleanup()

    asyncio.run(run())


async def _call(client: ClientSession, tool: str, body: object, key: str | None = None) -> tuple[int, Any]:
    headers = {"X-Tenant-Id": "acme", **({"Idempotency-Key": key} if key else {})}
    async with client.post(f"/tools/{tool}", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def _get(client: ClientSession, path: str) -> Any:
    async with client.get(path) as answer:
        return await answer.json()


def test_a_call_is_worked_and_recorded_with_its_key() -> None:
    async def story(client: ClientSession) -> None:
        # when a tool is called once with a key and once without
        status, answer = await _call(client, "settle", {"amount": 1}, "k-1")
        await _call(client, "settle", {"amount": 1})
        # then it answers, and both calls are on record
        assert (status, answer) == (200, {"status": "ok", "tool": "settle", "reference": "settle-1"})
        calls = (await _get(client, "/calls"))["items"]
        seen = [(call["key"], call["tenant"], call["status"], call["outcome"]) for call in calls]
        assert seen == [("k-1", "acme", 200, "worked"), (None, "acme", 200, "worked")]
        assert calls[0]["bodyDigest"] == calls[1]["bodyDigest"]

    _told(story)


def test_a_second_effect_shows_unless_the_tool_is_idempotent() -> None:
    async def story(client: ClientSession) -> None:
        # given a tool that is idempotent and one that is not
        async with client.put("/behaviours/careful", json={"idempotent": True}):
            pass
        # when each gets the same key twice
        answers = [await _call(client, tool, {}, f"key of {tool}") for tool in ("careful", "careful", "plain", "plain")]
        # then the idempotent one answers as before, and only the other one's key was worked twice
        assert answers[0] == answers[1]
        assert answers[2] != answers[3]
        summary = await _get(client, "/calls/summary")
        assert summary["workedTwice"] == ["key of plain"]
        assert (summary["calls"], summary["keys"], summary["worked"]) == (4, 2, 3)
        replays = [call["replayed"] for call in (await _get(client, "/calls?tool=careful"))["items"]]
        assert replays == [False, True]

    _told(story)


def test_the_first_n_calls_of_each_key_fail() -> None:
    async def story(client: ClientSession) -> None:
        body = {"parameters": {"simulate": {"failTimes": 2}}}
        statuses = [(await _call(client, "flaky", body, key))[0] for key in ("a", "b", "a", "a", "b", "b")]
        assert statuses == [503, 503, 503, 200, 503, 200]
        assert (await _get(client, "/calls/summary"))["workedTwice"] == []

    _told(story)


def test_a_tool_told_to_fail_fails_until_told_otherwise() -> None:
    async def story(client: ClientSession) -> None:
        async with client.put("/behaviours/broken", json={"status": 422}):
            pass
        assert (await _call(client, "broken", {}, "a"))[0] == 422
        async with client.delete("/behaviours/broken"):
            pass
        assert (await _call(client, "broken", {}, "a"))[0] == 200

    _told(story)


def test_each_item_of_a_batch_has_its_own_result_and_record() -> None:
    async def story(client: ClientSession) -> None:
        # given a batch whose second item is told to fail
        items = [
            {"idempotencyKey": "a", "parameters": {"n": 1}},
            {"idempotencyKey": "b", "parameters": {"n": 2, "simulate": {"status": 409}}},
        ]
        # when it is sent
        async with client.post("/tools/settle/batch", json={"items": items}) as answer:
            results = (await answer.json())["items"]
        # then the items were worked one by one
        assert [(item["idempotencyKey"], item["status"]) for item in results] == [("a", "ok"), ("b", "failed")]
        assert results[1]["error"]["status"] == 409
        calls = (await _get(client, "/calls"))["items"]
        assert [(call["key"], call["outcome"], call["batch"]) for call in calls] == [
            ("a", "worked", True),
            ("b", "failed", True),
        ]

    _told(story)


def test_a_hanging_call_is_recorded_and_holds_up_nobody() -> None:
    async def story(client: ClientSession) -> None:
        # given a caller that gives up on a tool that hangs
        try:
            await client.post("/tools/stuck", json={"simulate": {"hang": True}}, timeout=ClientTimeout(total=0.2))
            raise AssertionError("it answered")
        except TimeoutError:
            pass
        # then the call is on record without an answer, and other calls are served
        (call,) = (await _get(client, "/calls?tool=stuck"))["items"]
        assert (call["status"], call["outcome"]) == (None, "hung")
        assert (await _call(client, "other", {}))[0] == 200

    _told(story)


def test_work_goes_on_when_the_caller_gives_up() -> None:
    async def story(client: ClientSession) -> None:
        # given a slow tool and a caller with less patience
        try:
            body = {"simulate": {"delaySeconds": 0.3}}
            headers = {"Idempotency-Key": "late"}
            await client.post("/tools/slow", json=body, headers=headers, timeout=ClientTimeout(total=0.1))
            raise AssertionError("it answered")
        except TimeoutError:
            pass
        # then the effect happens all the same
        async with asyncio.timeout(5):
            while not (await _get(client, "/calls?key=late"))["items"]:
                await asyncio.sleep(0.02)
        assert (await _get(client, "/calls/summary"))["worked"] == 1

    _told(story)


def test_memory_is_bounded_and_the_newest_calls_are_kept() -> None:
    async def story(client: ClientSession) -> None:
        for n in range(5):
            await _call(client, "t", {}, f"k{n}")
        summary = await _get(client, "/calls/summary")
        assert (summary["calls"], summary["forgotten"], summary["keys"], summary["worked"]) == (5, 2, 3, 3)
        calls = (await _get(client, "/calls?limit=2"))["items"]
        assert [(call["number"], call["key"]) for call in calls] == [(4, "k3"), (5, "k4")]

    _told(story, capacity=3)


def test_what_cannot_be_understood_is_answered_400_and_not_recorded() -> None:
    async def story(client: ClientSession) -> None:
        for path, body in [
            ("/tools/t", b"{"),
            ("/tools/t", b"[]"),
            ("/tools/t", b'{"simulate": {"explode": true}}'),
            ("/tools/t", b'{"simulate": 1}'),
            ("/tools/t/batch", b'{"items": [1]}'),
        ]:
            async with client.post(path, data=body) as answer:
                assert (answer.status, (await answer.json())["status"]) == (400, "failed")
        async with client.get("/calls?limit=0") as answer:
            assert answer.status == 400
        assert (await _get(client, "/calls/summary"))["calls"] == 0

    _told(story)


def test_forgetting_starts_afresh() -> None:
    async def story(client: ClientSession) -> None:
        body = {"simulate": {"failTimes": 1}}
        await _call(client, "t", body, "a")
        async with client.delete("/calls") as answer:
            assert answer.status == 204
        assert (await _call(client, "t", body, "a"))[0] == 503
        assert (await _get(client, "/calls/summary"))["calls"] == 1

    _told(story)
