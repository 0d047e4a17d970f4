"""What tools answer holds no secret by the time anybody can write it down."""

from __future__ import annotations

from service.domain.plans import ToolCall
from service.secrets import KnownSecrets
from service.tools import Answer, PreparedCall
from service.tools.answers import Reply
from service.tools.masking import MaskingToolClient
from service.tools.recording import RecordingToolClient

TOKEN = "token-4711-abcd"


def test_answers_are_masked_and_others_are_handed_on_as_they_are() -> None:
    known = KnownSecrets()
    replies = {
        "echo": Reply(200, b'{"headers": {"Authorization": "Bearer token-4711-abcd"}, "n": 1}'),
        "plain": Reply(200, b'{"n": 1}'),
    }
    client = MaskingToolClient(RecordingToolClient(lambda call: replies[call.key]), known)
    known.add(TOKEN)
    calls = [PreparedCall(key, "A", ToolCall("settle", "https://t.example", {})) for key in replies]
    results = {result.key: result for group in client.results(calls) for result in group}
    assert results["echo"].output == {"headers": {"Authorization": "Bearer [SECRET]"}, "n": 1}
    assert results["plain"].output == {"n": 1}
    assert {result.answer for result in results.values()} == {Answer.CONFIRMED}


def test_an_error_that_quotes_a_secret_is_masked() -> None:
    known = KnownSecrets()
    known.add(TOKEN)
    inner = RecordingToolClient(lambda _call: Reply(400, b""))
    call = PreparedCall("k1", "A", ToolCall(f"tool {TOKEN}", "https://t.example", {}))
    [[result]] = MaskingToolClient(inner, known).results([call])
    assert TOKEN not in (result.error or "") and "[SECRET]" in (result.error or "")
