"""The finer points of judging answers; the table itself is held by the conformance suite."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from service.domain.plans import ToolCall
from service.tools.answers import OUTPUT_LIMIT_BYTES, Reply, failed_item, judge, retry_after_seconds
from service.tools.calls import Answer, PreparedCall

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALL = PreparedCall("k1", "TENANT_A", ToolCall("settle", "https://tool.example/settle", {}))
IDEMPOTENT = PreparedCall("k1", "TENANT_A", ToolCall("settle", "https://tool.example/settle", {}, idempotent=True))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="larger than was read"),
        pytest.param(b'{"x":"' + b"y" * OUTPUT_LIMIT_BYTES + b'"}', id="larger than is kept"),
        pytest.param(b"<html>Sign in</html>", id="not JSON"),
        pytest.param(b"[1, 2]", id="not an object"),
        pytest.param(b'{"name": "a\\u0000b"}', id="a character that PostgreSQL cannot keep"),
    ],
)
def test_an_unreadable_success_is_neither_believed_nor_repeated(body: bytes | None) -> None:
    assert judge(CALL, Reply(200, body), 0.1, NOW).answer is Answer.UNANSWERED
    assert judge(IDEMPOTENT, Reply(200, body), 0.1, NOW).answer is Answer.PERMANENT


@pytest.mark.parametrize("body", [b"", b"null"])
def test_a_tool_may_confirm_without_saying_anything(body: bytes) -> None:
    result = judge(CALL, Reply(204, body), 0.1, NOW)
    assert (result.answer, result.output) == (Answer.CONFIRMED, None)


def test_a_redirect_is_not_success() -> None:
    assert judge(IDEMPOTENT, Reply(302, b""), 0.1, NOW).answer is Answer.PERMANENT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("99999999", 99_999_999.0),
        ("9" * 400, 316_224_000.0),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_from_now(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("UNKNOWN_ACCOUNT", "UNKNOWN_ACCOUNT"),
        ("E1042", "E1042"),
        ("no account DE02120300000000202051", "see the tool's own log"),
        ("DE02120300000000202051", "see the tool's own log"),
        ({"detail": "secret"}, "see the tool's own log"),
        (None, "see the tool's own log"),
    ],
)
def test_of_a_failed_item_only_a_code_is_shown(error: object, shown: str) -> None:
    result = failed_item(CALL, error, 0.1)
    assert result.answer is Answer.PERMANENT
    assert result.error is not None
    assert f"({shown})" in result.error
