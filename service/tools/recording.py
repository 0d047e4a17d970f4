"""A tool client without a network, for tests of what uses one: it records the calls and answers from a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from service.tools.answers import Reply, judge, not_sent, unanswered
from service.tools.calls import PreparedCall, ToolResult


class NoConnectionError(Exception):
    """Raised by a script: there was no connection to the tool."""


class NoAnswerError(Exception):
    """Raised by a script: the call went out and no answer came."""


Script = Callable[[PreparedCall], Reply]


def confirm(_: PreparedCall) -> Reply:
    """The script of a tool that works everything and says nothing."""
    return Reply(200, b"{}")


class RecordingToolClient:
    """A ToolClient that keeps every call it made, in order, and judges scripted replies as the real one does."""

    def __init__(self, script: Script = confirm, group_size: int = 100) -> None:
        """`script` answers each call; results come in groups of `group_size`."""
        self.calls: list[PreparedCall] = []
        self.closed = False
        self._script = script
        self._group_size = group_size

    def results(self, calls: Sequence[PreparedCall]) -> Iterator[list[ToolResult]]:
        """Answer the calls from the script."""
        once = list({call.key: call for call in calls}.values())
        for start in range(0, len(once), self._group_size):
            yield [self._result(call) for call in once[start : start + self._group_size]]

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _result(self, call: PreparedCall) -> ToolResult:
        self.calls.append(call)
        try:
            return judge(call, self._script(call), 0.0, datetime.now(UTC))
        except NoConnectionError:
            return not_sent(call, "no connection", 0.0)
        except NoAnswerError:
            return unanswered(call, "timeout", 0.0)
