"""Calls that outlive their batch: none of their results is lost on the way, and all of them are landed."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from service.domain.packs.models import Egress
from service.domain.plans import ToolCall
from service.engine import landing as landing_module
from service.engine.batch import Reference
from service.engine.course import Flight
from service.engine.departures import Arrivals, Departure, Mailbox, depart
from service.engine.landing import Landing
from service.engine.results import EarlyError, Retry
from service.engine.turns import Applied
from service.errors import InfrastructureUnavailableError
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.egress import EgressRules

PATIENCE_SECONDS = 20


def flight(key: str, egress: Egress | None = None) -> Flight:
    reference = Reference("t", uuid4(), 1)
    course = SimpleNamespace(reference=reference, packs=SimpleNamespace(tenant=SimpleNamespace(egress=egress)))
    return Flight(cast(Any, course), cast(Any, None), ToolCall("tool", "http://tool", {}), key, 1)


def confirmed(key: str) -> ToolResult:
    return ToolResult(key, Answer.CONFIRMED)


def keys(arrivals: Arrivals) -> list[str]:
    return [one.key for one, _ in arrivals]


class Recorder:
    """What a landing does with its answers, as a test lets it."""

    def __init__(self, *outcomes: Applied | Exception) -> None:
        self.landed: list[str] = []
        self.retried: list[Retry] = []
        self.departed: list[str] = []
        self.noted: list[int] = []
        """For how many exceptions it waited, each time that it wrote that down."""
        self.said: list[str] = []
        """`noted` and `departed`, in their order."""
        self._outcomes = list(outcomes)

    def land(self, arrivals: Arrivals) -> Applied:
        outcome = self._outcomes.pop(0) if self._outcomes else Applied()
        if isinstance(outcome, Exception):
            raise outcome
        self.landed += keys(arrivals)
        return outcome

    def depart(self, flights: Sequence[Flight], mailbox: Mailbox) -> Departure:
        """The calls that follow are answered at once."""
        self.departed += [one.key for one in flights]
        self.said.append("departed")
        departure = Departure(flights, mailbox)
        departure.deliver([confirmed(one.key) for one in flights])
        return departure

    def retry(self, retries: Sequence[Retry]) -> None:
        self.retried += retries

    def landing(self) -> Landing:
        return Landing(self.land, self.depart, self.retry, self.note)

    def note(self, exceptions: Collection[UUID]) -> None:
        self.noted.append(len(exceptions))
        self.said.append("noted")


def test_a_call_carries_its_tenant_s_rules_of_where_tools_may_be_called() -> None:
    of_the_tenant = Egress(allowHosts=["tools.example"], allowHttp=False)
    departure = Departure([flight("a", of_the_tenant)], Mailbox())
    assert [call.egress for call in departure.calls()] == [EgressRules.of(["tools.example"], False)]


def test_a_change_of_mailbox_loses_no_result() -> None:
    # given three calls, of which one is answered before the batch stops waiting
    first, second = Mailbox(), Mailbox()
    departure = Departure([flight(name) for name in "abc"], first)
    departure.deliver([confirmed("a")])
    # when the mailbox is changed and the others are answered
    left = departure.redirect(second)
    departure.deliver([confirmed("b")])
    departure.deliver([confirmed("c")])
    # then each answer is in one of them
    assert [one.key for one in left] == ["b", "c"]
    assert keys(first.get_nowait()) == ["a"]
    assert keys(second.get_nowait()) + keys(second.get_nowait()) == ["b", "c"]
    assert first.empty()


def test_calls_of_a_client_that_fails_come_back_as_unanswered() -> None:
    class FailingClient:
        def results(self, calls: Sequence[PreparedCall]) -> Iterator[list[ToolResult]]:
            yield [confirmed(calls[0].key)]
            raise RuntimeError("a fault of the client")

        def close(self) -> None:
            """Nothing is open."""

    mailbox = Mailbox()
    depart(FailingClient(), [flight("a"), flight("b")], mailbox)
    arrivals = mailbox.get(timeout=PATIENCE_SECONDS) + mailbox.get(timeout=PATIENCE_SECONDS)
    assert [(one.key, result.answer) for one, result in arrivals] == [
        ("a", Answer.CONFIRMED),
        ("b", Answer.UNANSWERED),
    ]


def test_what_was_left_behind_is_landed_with_all_that_follows() -> None:
    # given a landing of which the first answer leads to a further call and to a failed attempt
    reference = Reference("t", uuid4(), 1)
    following, failed = flight("next"), Retry(reference, EarlyError(reference))
    recorder = Recorder(Applied(flights=(following,), retries=(failed,)))
    landing = recorder.landing()
    departure = Departure([flight("a")], Mailbox())
    # when a batch leaves its call to it, and the answer comes
    assert [one.key for one in landing.adopt(departure)] == ["a"]
    departure.deliver([confirmed("a")])
    # then an end of the process finds nothing under way, and everything was done
    assert landing.close(PATIENCE_SECONDS) == 0
    assert recorder.landed == ["a", "next"]
    assert recorder.departed == ["next"]
    assert recorder.retried == [failed]


def test_an_end_waits_no_longer_than_it_was_told_to() -> None:
    landing = Recorder().landing()
    landing.adopt(Departure([flight("hanging")], Mailbox()))
    assert landing.close(0.01) == 1


@pytest.mark.parametrize("outcome", [RuntimeError("a fault"), InfrastructureUnavailableError("PostgreSQL is away")])
def test_a_failure_to_write_does_not_end_the_landing(monkeypatch: pytest.MonkeyPatch, outcome: Exception) -> None:
    # given a landing whose first transaction fails
    monkeypatch.setattr(landing_module, "TRY_AGAIN_SECONDS", 0.01)
    recorder = Recorder(outcome)
    landing = recorder.landing()
    first, second = Departure([flight("a")], Mailbox()), Departure([flight("b")], Mailbox())
    landing.adopt(first)
    first.deliver([confirmed("a")])
    landing.close(PATIENCE_SECONDS)
    # when another answer comes
    landing.adopt(second)
    second.deliver([confirmed("b")])
    # then it is written down; the first too when only PostgreSQL was away
    assert landing.close(PATIENCE_SECONDS) == 0
    away = isinstance(outcome, InfrastructureUnavailableError)
    assert recorder.landed == (["a", "b"] if away else ["b"])


def test_a_landing_that_never_had_anything_to_do_has_no_thread() -> None:
    before = threading.active_count()
    assert Recorder().landing().close(PATIENCE_SECONDS) == 0
    assert threading.active_count() == before


def test_what_it_waits_for_is_written_down_before_calls_leave_that_may_end_the_process() -> None:
    # given a landing that waits for one call
    recorder = Recorder()
    landing = recorder.landing()
    landing.adopt(Departure([flight("hanging")], Mailbox()))
    # when two others are left to it
    landing.leave([flight("a"), flight("b")])
    # then all three are written down, and only then the calls go out
    assert recorder.noted == [1, 3]
    assert recorder.said == ["noted", "noted", "departed"]
    # and what has landed is not waited for any more
    landing.close(0.01)
    assert landing.close(0.01) == 1


def test_what_cannot_be_written_down_goes_out_all_the_same() -> None:
    recorder = Recorder()

    def note(_exceptions: Collection[UUID]) -> None:
        raise InfrastructureUnavailableError("PostgreSQL is away")

    landing = Landing(recorder.land, recorder.depart, recorder.retry, note)
    landing.leave([flight("a")])
    assert landing.close(PATIENCE_SECONDS) == 0
    assert recorder.landed == ["a"]
