"""How long a delivery waits for a call whose process was gone before it had an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from service.domain.plans import ToolCall
from service.engine.batch import Batch, Reference
from service.engine.course import Flight
from service.engine.departures import Arrivals, Departure, Mailbox
from service.engine.tool_stage import Patience, _Run
from service.engine.turns import Applied
from service.tools.calls import Answer, ToolResult

PATIENCE = Patience(1.0, 5.0, 15.0)


class HangingStage:
    """A tool stage whose one call never comes back; its clock is the time that was waited."""

    def __init__(self, kind: str, unanswered: bool, slow: bool) -> None:
        self.now = 0.0
        self.left: list[str] = []
        self.adopted_at: float | None = None
        self.landing = SimpleNamespace(
            leave=lambda flights: self.left.extend(one.key for one in flights), adopt=self._adopt
        )
        self._slow = slow
        course = SimpleNamespace(reference=Reference("t", uuid4(), 1))
        call = ToolCall("tool", "http://tool", {}, kind=kind)
        self._flight = Flight(cast(Any, course), cast(Any, None), call, "a", 3, unanswered)

    def start(self, _batch: Batch, *, in_company: bool) -> Applied:
        assert not in_company
        return Applied((self._flight,))

    def depart(self, flights: Sequence[Flight], mailbox: Mailbox) -> Departure:
        return Departure(flights, mailbox)

    def is_slow(self, _flight: Flight) -> bool:
        return self._slow

    def outlived(self, _flights: Sequence[Flight]) -> None:
        """Nobody asks."""

    def _adopt(self, departure: Departure) -> list[Flight]:
        self.adopted_at = self.now
        return departure.redirect(Mailbox())


def waited(stage: HangingStage) -> float | None:
    """How long a delivery of the call waits before it leaves it to the landing; None: it went there at once."""
    run = _Run(cast(Any, stage), Batch.single(Reference("t", uuid4(), 1)), PATIENCE, lambda: stage.now)

    class Silence(Mailbox):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            stage.now += timeout or 0.0
            return super().get(timeout=0.001)

    run._mailbox = Silence()
    run.carry_out()
    return stage.adopted_at


def test_a_plug_in_that_may_have_ended_its_process_is_waited_for_even_if_it_is_slow() -> None:
    # given a plug-in's call of which no answer came, twice
    stage = HangingStage("python", unanswered=True, slow=True)
    # then a delivery waits for it, so that the end of its process is blamed on it
    assert waited(stage) == 8.0
    assert stage.left == []


@pytest.mark.parametrize(("kind", "unanswered"), [("http", True), ("python", False)])
def test_other_calls_are_left_to_the_landing_as_ever(kind: str, unanswered: bool) -> None:
    assert waited(HangingStage(kind, unanswered, slow=False)) == 1.0
    slow = HangingStage(kind, unanswered, slow=True)
    assert waited(slow) is None
    assert slow.left == ["a"]


class BusyStage(HangingStage):
    """A tool stage that takes seconds to write an answer down; its second call is answered soon after the first."""

    def __init__(self) -> None:
        super().__init__("http", unanswered=False, slow=False)
        self.landed = 0

    def start(self, batch: Batch, *, in_company: bool) -> Applied:
        (first,) = super().start(batch, in_company=in_company).flights
        return Applied((first, replace(first, key="b")))

    def land(self, arrivals: Arrivals) -> Applied:
        self.landed += len(arrivals)
        self.now += 5.0
        return Applied()


def test_what_the_stage_takes_to_write_answers_down_is_not_waiting() -> None:
    # given a worker so busy that writing one answer down takes longer than the longest patience with a tool
    stage = BusyStage()
    run = _Run(cast(Any, stage), Batch.single(Reference("t", uuid4(), 1)), PATIENCE, lambda: stage.now)
    answers = iter("ab")

    class Punctual(Mailbox):
        """Each answer comes 0.9 s after it is waited for."""

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            stage.now += min(timeout or 0.0, 0.9)
            if (timeout or 0.0) < 0.9:
                raise AssertionError("it does not wait as long as it may")
            key = next(answers)
            return [(replace(stage._flight, key=key), ToolResult(key, Answer.CONFIRMED))]

    run._mailbox = Punctual()
    # when the tool answers in time, then nothing is left behind, and the tool is not taken for slow
    run.carry_out()
    assert (stage.landed, stage.adopted_at) == (2, None)


def test_each_silence_is_waited_for_longer_up_to_what_a_delivery_may_take() -> None:
    assert [PATIENCE.after_silence(attempt) for attempt in (2, 3, 4, 5, 4000)] == [4.0, 8.0, 15.0, 15.0, 15.0]
