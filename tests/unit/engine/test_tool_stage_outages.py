"""What a delivery knows of its calls outlives an outage that ends the delivery."""

from __future__ import annotations

from collections.abc import Sequence
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
from service.persistence.outages import DatabaseUnavailableError
from service.tools.calls import Answer, ToolResult


def flight(key: str) -> Flight:
    course = SimpleNamespace(reference=Reference("t", uuid4(), 1))
    return Flight(cast(Any, course), cast(Any, None), ToolCall("tool", "http://tool", {}), key, 1)


class Stage:
    """The tool stage without PostgreSQL: three calls go out, of which two are answered, and nothing can be written."""

    def __init__(self) -> None:
        self.landing = SimpleNamespace(leave=lambda _flights: None, adopt=self._adopt, take=self._take)
        self.adopted: list[str] = []
        self.taken: list[str] = []

    def start(self, _batch: Batch, *, in_company: bool) -> Applied:
        return Applied(tuple(flight(key) for key in "abc"))

    def depart(self, flights: Sequence[Flight], mailbox: Mailbox) -> Departure:
        departure = Departure(flights, mailbox)
        for key in "ab":
            departure.deliver([ToolResult(key, Answer.CONFIRMED)])
        return departure

    def land(self, _arrivals: Arrivals) -> Applied:
        raise DatabaseUnavailableError("it is being restarted")

    def is_slow(self, _flight: Flight) -> bool:
        return False

    def _adopt(self, departure: Departure) -> list[Flight]:
        flights = departure.redirect(Mailbox())
        self.adopted += [one.key for one in flights]
        return flights

    def _take(self, arrivals: Arrivals) -> None:
        self.taken += [one.key for one, _ in arrivals]


def test_answers_that_came_in_an_outage_are_left_to_the_landing() -> None:
    # given calls under way when PostgreSQL goes away
    stage = Stage()
    batch = Batch((Reference("t", uuid4(), 1),), 0, "batch")
    # when the first answer cannot be written down
    with pytest.raises(DatabaseUnavailableError):
        _Run(cast(Any, stage), batch, Patience(5.0, 5.0, 15.0), lambda: 0.0).carry_out()
    # then the landing has every answer, also those that nobody had looked at, and waits for the call that is out
    assert sorted(stage.taken) == ["a", "b"]
    assert stage.adopted == ["c"]
