"""The table from what HTTP showed to what is known about a call's effect. Pure.

| what happened                                              | tool not idempotent | tool idempotent |
| ---------------------------------------------------------- | ------------------- | --------------- |
| 2xx with a JSON object, `null`, or no body                 | CONFIRMED           | CONFIRMED       |
| 2xx whose body is too large or not a JSON object           | UNANSWERED          | PERMANENT       |
| 2xx of which `success` is false, by `onFalse`              | PERMANENT/TRANSIENT | the same        |
| 2xx of which `success` cannot be told                      | UNANSWERED          | PERMANENT       |
| 2xx of a webhook's receiver, whatever it says              | CONFIRMED           | CONFIRMED       |
| refused by the egress guard, unknown certificate, bad URL  | PERMANENT           | PERMANENT       |
| no connection (name, refused, connect timeout)             | TRANSIENT           | TRANSIENT       |
| 408, 425, 429, 503                                         | TRANSIENT           | TRANSIENT       |
| 409                                                        | PERMANENT           | TRANSIENT       |
| 3xx, other 4xx, 501, 505                                   | PERMANENT           | PERMANENT       |
| other 5xx (500, 502, 504, …)                               | UNANSWERED          | TRANSIENT       |
| sent, then timeout, reset or broken HTTP                   | UNANSWERED          | TRANSIENT       |
| an item of a batch: `failed`, its error with a `status`    | as that status      | as that status  |
| an item of a batch: `failed`                               | PERMANENT           | PERMANENT       |
| an item of a batch: missing or malformed                   | UNANSWERED          | TRANSIENT       |

The rule behind it: for a tool that does not ignore a repeated key, only what proves that the call was not
worked may be sent again. A gateway's 502 or 504 and an application's 500 prove nothing; 503 and 429 are
by their definition refusals to work. 429, and 503 with Retry-After, are rate limits: they have tries of their own
and are not repeated before the time they name. 409 is how an idempotent tool says that the first attempt is still
being worked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.shaping import AnswerUnusableError, picked, says_done

OUTPUT_LIMIT_BYTES = 1024 * 1024
"""The most JSON one call's output may have; a large one is stored once and referred to."""

_TOO_MANY, _UNAVAILABLE = 429, 503
_NOT_WORKED = frozenset({408, 425, _TOO_MANY, _UNAVAILABLE})
_NEVER = frozenset({501, 505})
_CONFLICT = 409
_LONGEST_RETRY_AFTER = 10 * 366 * 86_400.0
"""Beyond it a number means nothing. What an exception really waits is bounded by its retry policy."""
_ERROR_CODE = re.compile(r"(?!.*\d{5})[A-Za-z][A-Za-z0-9_.-]{0,63}")
_EPOCH = datetime.fromtimestamp(0, UTC)
_NUL = b"\\u0000"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read whole."""

    status: int
    body: bytes | None
    """None when it was larger than allowed."""
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class UnreadableReplyError(ValueError):
    """A body that is not what the protocol says; the message says in which way."""


def judge(call: PreparedCall, reply: Reply, duration: float, now: datetime) -> ToolResult:
    """The result of a call that was answered."""
    if 200 <= reply.status < 300:
        return _confirmed(call, reply, duration)
    return refused(call, reply, duration, now)


def refused(call: PreparedCall, reply: Reply, duration: float, now: datetime) -> ToolResult:
    """The result of a call that was answered with another status than 2xx."""
    after = retry_after_seconds(reply.retry_after, now)
    return ToolResult(
        key=call.key,
        answer=_answer_of(reply.status, call.call.idempotent),
        error=f"tool {call.call.tool!r} answered {reply.status}",
        retry_after_seconds=after,
        rate_limited=reply.status == _TOO_MANY or (reply.status == _UNAVAILABLE and after is not None),
        duration_seconds=duration,
    )


def not_sent(call: PreparedCall, cause: str, duration: float) -> ToolResult:
    """The result of a call for which there was no connection."""
    error = f"tool {call.call.tool!r} could not be reached ({cause})"
    return ToolResult(call.key, Answer.TRANSIENT, error=error, duration_seconds=duration)


def held_back(call: PreparedCall, reason: str) -> ToolResult:
    """The result of a call that did not leave, because a limit of calls under way was reached."""
    return ToolResult(call.key, Answer.NOT_SENT, error=reason)


def deferred(call: PreparedCall, cause: str, duration: float) -> ToolResult:
    """The result of a call that was certainly not worked, and may be later."""
    error = f"tool {call.call.tool!r} did not work the call ({cause})"
    return ToolResult(call.key, Answer.TRANSIENT, error=error, duration_seconds=duration)


def rejected(call: PreparedCall, cause: str, duration: float) -> ToolResult:
    """The result of a call that was certainly not worked, and never will be."""
    error = f"tool {call.call.tool!r} refused the call ({cause})"
    return ToolResult(call.key, Answer.PERMANENT, error=error, duration_seconds=duration)


def not_allowed(call: PreparedCall, cause: str) -> ToolResult:
    """The result of a call that is not made at all."""
    return ToolResult(call.key, Answer.PERMANENT, error=f"tool {call.call.tool!r} was not called: {cause}")


def unanswered(call: PreparedCall, cause: str, duration: float) -> ToolResult:
    """The result of a call that went out and about which nothing more is known."""
    answer = Answer.TRANSIENT if call.call.idempotent else Answer.UNANSWERED
    error = f"tool {call.call.tool!r} was called and gave no usable answer ({cause})"
    return ToolResult(call.key, answer, error=error, duration_seconds=duration)


def unreadable(call: PreparedCall, cause: str, duration: float) -> ToolResult:
    """The result of a call whose answer says success in a form that cannot be read."""
    answer = Answer.PERMANENT if call.call.idempotent else Answer.UNANSWERED
    error = f"tool {call.call.tool!r} answered 2xx, but its answer {cause}"
    return ToolResult(call.key, answer, error=error, duration_seconds=duration)


def failed_item(call: PreparedCall, error: object, duration: float) -> ToolResult:
    """The result of a batch's item that the tool itself reports as failed.

    An error that is an object with a `status` is judged as that HTTP status would be for a call that goes
    alone; any other is final. A text is repeated only when it looks like an error code: prose may quote
    what was sent.
    """
    status = error.get("status") if isinstance(error, dict) else None
    if isinstance(status, int) and 400 <= status <= 599:
        return refused(call, Reply(status, None), duration, _EPOCH)
    message = f"tool {call.call.tool!r} refused the item ({coded(error)})"
    return ToolResult(call.key, Answer.PERMANENT, error=message, duration_seconds=duration)


def coded(error: object) -> str:
    """An error code of a tool's own; prose is not repeated, for it may quote what was sent."""
    return error if isinstance(error, str) and _ERROR_CODE.fullmatch(error) else "see the tool's own log"


def require_storable(body: bytes) -> None:
    """Raise UnreadableReplyError when an output, as JSON, cannot be kept."""
    if len(body) > OUTPUT_LIMIT_BYTES:
        raise UnreadableReplyError("is too large")
    # PostgreSQL's jsonb cannot hold U+0000: one such answer would fail the statement of a whole batch.
    if _NUL in body:
        raise UnreadableReplyError("contains the character U+0000")


def json_object(body: bytes | None) -> Mapping[str, Any] | None:
    """The JSON object of a body; None when it is empty or `null`. Raises UnreadableReplyError."""
    value = _json(body)
    if value is not None and not isinstance(value, dict):
        raise UnreadableReplyError("is not a JSON object")
    return value


def _json(body: bytes | None) -> Any:
    if body is None:
        raise UnreadableReplyError("is too large")
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        raise UnreadableReplyError("is not JSON") from None


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """`Retry-After` as seconds from now, at most ten years; None when it is missing or not understood."""
    if not header:
        return None
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def _confirmed(call: PreparedCall, reply: Reply, duration: float) -> ToolResult:
    if call.call.kind == "webhook":
        return ToolResult(call.key, Answer.CONFIRMED, {"status": reply.status}, duration_seconds=duration)
    options = call.call.options
    if "success" in options or "response" in options:
        return _by_definition(call, reply, duration)
    try:
        require_storable(reply.body or b"")
        output = json_object(reply.body)
    except UnreadableReplyError as error:
        return unreadable(call, str(error), duration)
    return ToolResult(call.key, Answer.CONFIRMED, output=output, duration_seconds=duration)


def _by_definition(call: PreparedCall, reply: Reply, duration: float) -> ToolResult:
    """The result of a 2xx answer where the tool's definition says what success is, or what the output."""
    options = call.call.options
    try:
        body = _json(reply.body)
        if not says_done(call, reply.status, reply.headers, body):
            return _says_not_done(call, reply, duration)
        fields = options.get("response")
        output = body if fields is None else picked(fields, reply.status, reply.headers, body)
        if output is not None and not isinstance(output, dict):
            raise UnreadableReplyError("is not a JSON object")
        require_storable(orjson.dumps(output))
    except (UnreadableReplyError, AnswerUnusableError) as error:
        return unreadable(call, str(error), duration)
    return ToolResult(call.key, Answer.CONFIRMED, output=output, duration_seconds=duration)


def _says_not_done(call: PreparedCall, reply: Reply, duration: float) -> ToolResult:
    answer = Answer.TRANSIENT if call.call.options.get("onFalse") == "retry" else Answer.PERMANENT
    error = f"tool {call.call.tool!r} answered {reply.status}, but its `success` is not true of the answer"
    return ToolResult(call.key, answer, error=error, duration_seconds=duration)


def _answer_of(status: int, idempotent: bool) -> Answer:
    if status in _NOT_WORKED or (status == _CONFLICT and idempotent):
        return Answer.TRANSIENT
    if status < 500 or status in _NEVER:
        return Answer.PERMANENT
    return Answer.TRANSIENT if idempotent else Answer.UNANSWERED
