"""What every ToolClient promises: the real one, call by call and in batches, and the fake that tests use."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from service.domain.plans import ToolCall
from service.tools import Answer, EgressGuard, HttpToolClient, PreparedCall, ToolClient, ToolResult
from service.tools.answers import Reply
from service.tools.limits import CallLimits, CallSlots
from service.tools.recording import NoAnswerError, NoConnectionError, RecordingToolClient
from tests.conformance.tools.scripted_server import NO_ANSWER, NO_CONNECTION, Behaviour, ScriptedServer


@dataclass
class Bench:
    """A client, and tools that behave as told."""

    client: ToolClient
    script: dict[str, Behaviour]
    url: str
    closed_url: str
    batched: bool

    def call(self, key: str, behaviour: Behaviour = Reply(200, b"{}"), *, idempotent: bool = False) -> PreparedCall:  # noqa: B008 - frozen
        self.script[key] = behaviour
        url = self.closed_url if behaviour == NO_CONNECTION else self.url
        batch_url = f"{url}/batch" if self.batched else None
        parameters = {"order": key, "iban": "DE02120300000000202051"}
        tool = ToolCall("settle", f"{url}/settle", parameters, idempotent=idempotent, batch_url=batch_url)
        return PreparedCall(key, "TENANT_A", tool)

    def result(self, call: PreparedCall) -> ToolResult:
        (result,) = self.results([call])
        return result

    def results(self, calls: list[PreparedCall]) -> list[ToolResult]:
        return [result for group in self.client.results(calls) for result in group]


@pytest.fixture(params=["recording", "http", "http in batches"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "recording":
        yield _recording_bench()
        return
    with ScriptedServer() as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        closed_origin = f"127.0.0.1:{closed.getsockname()[1]}"
        client = HttpToolClient(CallSlots(CallLimits.alike(8)), EgressGuard([server.origin, closed_origin]))
        batched = request.param == "http in batches"
        yield Bench(client, server.script, f"http://{server.origin}", f"http://{closed_origin}", batched)
        client.close()


def _recording_bench() -> Bench:
    script: dict[str, Behaviour] = {}

    def answer(call: PreparedCall) -> Reply:
        behaviour = script[call.key]
        if isinstance(behaviour, Reply):
            return behaviour
        raise NoConnectionError if behaviour == NO_CONNECTION else NoAnswerError

    return Bench(RecordingToolClient(answer), script, "http://tool", "http://closed", batched=False)


def test_a_confirmed_call_brings_its_output(bench: Bench) -> None:
    result = bench.result(bench.call("k1", Reply(200, b'{"reference":"R-7"}')))
    assert (result.answer, result.output, result.error) == (Answer.CONFIRMED, {"reference": "R-7"}, None)


TRANSIENT, PERMANENT, UNANSWERED = Answer.TRANSIENT, Answer.PERMANENT, Answer.UNANSWERED


@pytest.mark.parametrize(
    ("behaviour", "plain", "idempotent"),
    [
        (Reply(400, b""), PERMANENT, PERMANENT),
        (Reply(409, b""), PERMANENT, TRANSIENT),
        (Reply(429, b""), TRANSIENT, TRANSIENT),
        (Reply(500, b""), UNANSWERED, TRANSIENT),
        (Reply(501, b""), PERMANENT, PERMANENT),
        (Reply(502, b""), UNANSWERED, TRANSIENT),
        (Reply(503, b""), TRANSIENT, TRANSIENT),
        (NO_ANSWER, UNANSWERED, TRANSIENT),
        (NO_CONNECTION, TRANSIENT, TRANSIENT),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_only_what_was_not_worked_may_be_sent_again(
    bench: Bench, behaviour: Behaviour, plain: Answer, idempotent: Answer
) -> None:
    assert bench.result(bench.call("k1", behaviour)).answer is plain
    assert bench.result(bench.call("k2", behaviour, idempotent=True)).answer is idempotent


def test_each_key_has_exactly_one_result_whatever_becomes_of_its_call(bench: Bench) -> None:
    # given calls of which some work, some fail and some are never answered, and one key that comes twice
    behaviours: list[Behaviour] = [Reply(200, b"{}"), Reply(503, b""), Reply(422, b""), NO_ANSWER, NO_CONNECTION]
    calls = [bench.call(f"k{number}", behaviours[number % 5]) for number in range(250)]
    # when they are made
    results = bench.results([*calls, calls[0]])
    # then each key has one result
    assert sorted(result.key for result in results) == sorted(call.key for call in calls)
    # and no neighbour's fate
    answers = {result.key: result.answer for result in results}
    assert {answers[f"k{number}"] for number in range(0, 250, 5)} == {Answer.CONFIRMED}


def test_errors_repeat_neither_parameters_nor_answers(bench: Bench) -> None:
    secret = b"DE02120300000000202051 is not known"
    for key, behaviour in enumerate((Reply(400, secret), Reply(500, secret), NO_ANSWER, NO_CONNECTION)):
        error = bench.result(bench.call(f"k{key}", behaviour)).error
        assert error is not None
        assert "settle" in error
        assert "DE02" not in error


def test_nothing_to_do_is_no_result(bench: Bench) -> None:
    assert bench.results([]) == []
