"""The HTTP client and the stack's demo tool server speak the same protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import uuid4

import orjson
import pytest

from service.domain.plans import ToolCall
from service.tools import Answer, EgressGuard, HttpToolClient, PreparedCall
from service.tools.limits import CallLimits, CallSlots


@pytest.fixture
def client(tool_server_url: str) -> Iterator[HttpToolClient]:
    client = HttpToolClient(CallSlots(CallLimits.alike(8)), EgressGuard([urlsplit(tool_server_url).netloc]))
    yield client
    client.close()


def a_call(server: str, simulate: dict[str, Any] | None = None, *, batched: bool, timeout: float = 5.0) -> PreparedCall:
    parameters = {"order": "O-1", **({"simulate": simulate} if simulate else {})}
    url = f"{server}/tools/effects-test"
    batch_url = f"{url}/batch" if batched else None
    tool = ToolCall("effects-test", url, parameters, timeout_seconds=timeout, batch_url=batch_url)
    return PreparedCall(str(uuid4()), "TENANT_A", tool)


def answers(client: HttpToolClient, *calls: PreparedCall) -> list[Answer]:
    found = {result.key: result.answer for group in client.results(calls) for result in group}
    return [found[call.key] for call in calls]


def recorded(server: str, call: PreparedCall) -> int:
    with urlopen(f"{server}/calls?key={call.key}") as response:
        return len(orjson.loads(response.read())["items"])


@pytest.mark.parametrize("batched", [False, True], ids=["single", "batch"])
def test_a_call_is_confirmed_and_recorded_under_its_key(
    tool_server_url: str, client: HttpToolClient, batched: bool
) -> None:
    calls = [a_call(tool_server_url, batched=batched) for _ in range(5)]
    assert answers(client, *calls) == [Answer.CONFIRMED] * 5
    assert [recorded(tool_server_url, call) for call in calls] == [1] * 5


@pytest.mark.parametrize("batched", [False, True], ids=["single", "batch"])
def test_a_tool_that_fails_twice_works_the_third_time(
    tool_server_url: str, client: HttpToolClient, batched: bool
) -> None:
    failing = a_call(tool_server_url, {"failTimes": 2}, batched=batched)
    healthy = a_call(tool_server_url, batched=batched)
    assert answers(client, failing, healthy) == [Answer.TRANSIENT, Answer.CONFIRMED]
    assert [answers(client, failing), answers(client, failing)] == [[Answer.TRANSIENT], [Answer.CONFIRMED]]


@pytest.mark.parametrize("batched", [False, True], ids=["single", "batch"])
def test_failures_are_told_apart(tool_server_url: str, client: HttpToolClient, batched: bool) -> None:
    calls = [a_call(tool_server_url, {"status": status}, batched=batched) for status in (422, 503, 500)]
    assert answers(client, *calls) == [Answer.PERMANENT, Answer.TRANSIENT, Answer.UNANSWERED]


@pytest.mark.parametrize("batched", [False, True], ids=["single", "batch"])
def test_a_hanging_tool_leaves_its_call_open(tool_server_url: str, client: HttpToolClient, batched: bool) -> None:
    hanging = a_call(tool_server_url, {"hang": True}, batched=batched, timeout=0.3)
    assert answers(client, hanging) == [Answer.UNANSWERED]
