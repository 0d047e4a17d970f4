"""Failed attempts on a real database: what is written of them, when they come back, who gives up when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from service.domain.exceptions import Stage
from service.engine.batch import Reference
from service.engine.course import Flight
from service.engine.failures import ToolRateLimitedError, ToolUnavailableError
from service.engine.repeats import as_rows, scheduled
from service.engine.results import Retry
from service.persistence import queries
from service.persistence.queries import ListFilter
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import unit_of_work
from service.tools.answers import Reply, refused
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.egress import NO_RULES
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.plans import AGAIN, ONCE, World, call

pytestmark = pytest.mark.stack


def answered(status: int, retry_after: str | None = None) -> Callable[[Flight, int], ToolResult]:
    """A tool that answers everything in one way, judged as the client judges it."""

    def script(flight: Flight, _times: int) -> ToolResult:
        prepared = PreparedCall(flight.key, flight.reference.tenant_id, flight.call, NO_RULES)
        now = flight.course.record.received_at
        return refused(prepared, Reply(status, b"", retry_after), 0.1, now)

    return script


def noted(one: World, retry: Retry, jitter: float = 0.5) -> dict[str, Any]:
    """Write a failed attempt down as a worker does; its event."""
    due = scheduled(Stage.TOOL, retry, lambda: jitter)
    with unit_of_work(one.application, [one.tenant.tenant_id]) as transaction:
        StageRepository(transaction).record_retries(Stage.TOOL, as_rows(Stage.TOOL, [due], one.now), one.now)
    event: dict[str, Any] = one.events("RetryScheduled")[-1][1]
    return event


@pytest.mark.parametrize(
    ("status", "retry_after", "error"),
    [
        (429, "40", ToolRateLimitedError),
        (429, None, ToolRateLimitedError),
        (503, "40", ToolRateLimitedError),
        (503, None, ToolUnavailableError),
        (408, None, ToolUnavailableError),
    ],
)
def test_a_tool_that_names_a_time_is_a_rate_limit(
    world: MakeWorld, status: int, retry_after: str | None, error: type[Exception]
) -> None:
    one = world([call(1, AGAIN, "first")], script=answered(status, retry_after))
    (retry,) = one.delivered(one.planned()).retries
    assert type(retry.error) is error
    assert retry.tool == AGAIN
    assert (retry.due_in_seconds or 0) == (40 if retry_after else 0)


def test_what_waits_for_a_retry_says_when_why_and_how_often(world: MakeWorld) -> None:
    # given a call that was asked to come again in 40 seconds
    one = world([call(1, AGAIN, "first")], script=answered(429, "40"))
    reference = one.planned()
    (retry,) = one.delivered(reference).retries
    # when its failed attempt is written down
    said = noted(one, retry)
    # then the timeline says what an operator has to know
    assert (said["errorKind"], said["errorClass"], said["tool"]) == ("rate_limited", "ToolRateLimited", AGAIN)
    assert (said["attempt"], said["of"], said["stage"]) == (1, 21, "tool")
    assert (said["retryAfterSeconds"], "retryAfterCappedTo" in said) == (40, False)
    assert said["error"].startswith(f"tool '{AGAIN}' answered 429")
    # and so does the exception, at no time before the one that was named
    with unit_of_work(one.application, [one.tenant.tenant_id]) as transaction:
        details = queries.get_exception(transaction, one.tenant.tenant_id, reference.exception_id)
        assert details is not None
        assert details.row.next_retry_at >= one.now + timedelta(seconds=40)
        assert details.row.attempt == 1
        assert details.retry is not None
        assert details.retry.data["error"] == said["error"]
        # and lists find it
        found = {
            retrying: [
                row.exception_id
                for row in queries.list_exceptions(
                    transaction,
                    one.tenant.tenant_id,
                    ListFilter(retrying=retrying),
                    newest_first=True,
                    after=None,
                    limit=5,
                )
            ]
            for retrying in (True, False, None)
        }
    assert found == {True: [reference.exception_id], False: [], None: [reference.exception_id]}


def test_a_huge_retry_after_is_cut_and_the_timeline_says_so(world: MakeWorld) -> None:
    # given a tool that wants to be left alone for a year
    one = world([call(1, AGAIN, "first")], script=answered(503, "31536000"))
    (retry,) = one.delivered(one.planned()).retries
    # then its exception comes back within the policy's time
    said = noted(one, retry, jitter=0.0)
    assert (said["retryAfterSeconds"], said["retryAfterCappedTo"]) == (31_536_000, 3_600)
    assert one.rows("SELECT retry_at FROM exceptions WHERE {own}")[0][0] == one.now + timedelta(hours=1)


def test_of_several_calls_the_latest_time_named_counts_for_all(world: MakeWorld) -> None:
    # given two calls at once, of which one names a time and the other has fewer tries left
    def script(flight: Flight, times: int) -> ToolResult:
        if flight.call.tool == AGAIN:
            return answered(429, "70")(flight, times)
        return ToolResult(flight.key, Answer.TRANSIENT, error="no connection")

    blocks = [[call(1, AGAIN, "busy")], [call(1, ONCE, "broken")]]
    both = {"step_order": 1, "name": "both", "action_type": "parallel", "params": {"branches": blocks}}
    one = world([both], script=script)
    (retry,) = one.delivered(one.planned()).retries
    # then the exception is not back before that time, whichever call it was that counted
    assert scheduled(Stage.TOOL, retry, lambda: 0.0).delay_seconds >= 70


def test_a_call_that_was_given_up_leaves_a_dead_letter_that_knows_its_tool(world: MakeWorld) -> None:
    # given a call whose last try was a rate limit
    one = world([call(1, AGAIN, "first")], script=answered(429))
    reference = one.planned()
    (retry,) = one.delivered(reference).retries
    spent = Retry(_with(retry.reference, attempt=20, rate_limited=20), retry.error, None, retry.policy, "1", retry.tool)
    assert spent.exhausted(Stage.TOOL)
    # when it is given up
    one.turns.give_up([spent])
    # then its dead letter says what it was
    letters = one.rows("SELECT tool, error_kind, error_class FROM dead_letters WHERE {own}")
    assert [tuple(letter) for letter in letters] == [(AGAIN, "rate_limited", "ToolRateLimited")]


def test_a_refused_call_leaves_a_dead_letter_that_knows_its_tool(world: MakeWorld) -> None:
    one = world([call(1, ONCE, "first")], script=answered(422))
    one.delivered(one.planned())
    assert [tuple(row) for row in one.rows("SELECT tool, error_kind FROM dead_letters WHERE {own}")] == [
        (ONCE, "permanent")
    ]


def test_a_plan_that_came_further_has_all_its_tries_again(world: MakeWorld) -> None:
    # given a second call that fails on an exception whose first one needed three tries
    def script(flight: Flight, times: int) -> ToolResult:
        if flight.step.path == "1":
            return ToolResult(flight.key, Answer.CONFIRMED, output={})
        return answered(429)(flight, times)

    one = world([call(1, AGAIN, "first"), call(2, AGAIN, "second")], script=script)
    (retry,) = one.delivered(_with(one.planned(), attempt=3, rate_limited=2)).retries
    assert (retry.reference.attempt, retry.reference.rate_limited) == (0, 0)


def _with(reference: Reference, attempt: int, rate_limited: int) -> Reference:
    return Reference(reference.tenant_id, reference.exception_id, reference.sequence, attempt, rate_limited)
