"""Discarding on a real database: the input ends, its exception rests, what waited goes on, and the books balance."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.domain.events import EventType
from service.domain.exceptions import InputType, Stage
from service.engine.batch import Reference
from service.persistence.ingestion import Ingestion, NewInput
from service.persistence.queries import ledger_of
from service.persistence.unit_of_work import unit_of_work
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.dead_letters import Tools, discarded, letter_of, outbox, sent_again, worked
from tests.integration.engine.plans import ONCE, World, call
from tests.integration.verdicts import broken_promises

pytestmark = pytest.mark.stack

MANUAL = {"step_order": 1, "name": "look", "action": "look at it"}


def dead(world: MakeWorld, *steps: dict[str, Any]) -> tuple[World, Tools, Reference]:
    """An exception whose plan's calls are all refused."""
    tools = Tools({"1", "2"})
    found = world(list(steps) or [call(1, ONCE, "book")], script=tools)
    reference = found.planned()
    found.delivered(reference)
    return found, tools, reference


def queued(found: World, reference: Reference, kind: InputType, data: dict[str, Any]) -> Reference:
    """A later input, as the API accepts it; it is not worked yet."""
    with unit_of_work(found.application, [found.tenant.tenant_id]) as transaction:
        ingestion = Ingestion(transaction, found.tenant.tenant_id, found.now)
        locked = ingestion.lock(reference.exception_id)
        assert locked is not None
        new = NewInput(kind, data, EventType.EXCEPTION_UPDATED, {"type": kind.value}, "ann")
        sequence = ingestion.append(locked, new)
    return Reference(reference.tenant_id, reference.exception_id, sequence)


def balanced(found: World) -> dict[str, int]:
    """The tenant's books, which balance."""
    with unit_of_work(found.system) as transaction:
        books = ledger_of(transaction, found.tenant.tenant_id)
        broken = broken_promises(transaction, found.tenant.tenant_id)
    # What waits for its turn is in the outbox, and rightly so.
    assert broken.keys() <= {"left in the outbox"} if books.in_flight else broken == {}
    assert books.balanced, books
    return {"inFlight": books.in_flight, "deadLettered": books.dead_lettered, "discarded": books.discarded}


def test_a_first_input_that_is_discarded_ends_its_exception(world: MakeWorld) -> None:
    found, _, reference = dead(world)
    assert balanced(found) == {"inFlight": 0, "deadLettered": 1, "discarded": 0}
    # when a person discards it
    assert discarded(found, reference).done
    # then the exception is discarded, for good and for a reason, and the books know
    assert found.status(reference) == "DISCARDED"
    assert letter_of(found, reference).state == "discarded"
    ((_, told),) = found.events("Discarded")
    assert (told["by"], told["reason"], told["rests"]) == ("ann", "a duplicate", "DISCARDED")
    assert outbox(found, reference) == []
    assert balanced(found) == {"inFlight": 0, "deadLettered": 0, "discarded": 1}
    # and nobody can send it again, nor discard it twice
    assert sent_again(found, reference).why_not == "it was discarded"
    assert not discarded(found, reference).done
    assert len(found.events("Discarded")) == 1


def test_an_update_that_waited_makes_the_exception_workable(world: MakeWorld) -> None:
    # given a dead letter, and behind it a comment and an update
    found, tools, reference = dead(world)
    queued(found, reference, InputType.COMMENT, {"text": "the account is wrong"})
    queued(found, reference, InputType.UPDATED, {"rawPayload": {"price": 2}})
    # when it is discarded
    discarded(found, reference)
    # then the next input takes its turn, and the one after it, in order
    assert outbox(found, reference) == [(2, Stage.INTAKE, True), (3, Stage.INTAKE, False)]
    assert balanced(found) == {"inFlight": 1, "deadLettered": 0, "discarded": 0}
    tools.refusing.clear()
    worked(found, reference)
    assert balanced(found) == {"inFlight": 1, "deadLettered": 0, "discarded": 0}
    assert worked(found, reference) == "RESOLVED"
    assert balanced(found) == {"inFlight": 0, "deadLettered": 0, "discarded": 0}


def test_a_comment_on_what_was_discarded_leaves_it_discarded(world: MakeWorld) -> None:
    found, _, reference = dead(world)
    discarded(found, reference)
    queued(found, reference, InputType.COMMENT, {"text": "too bad"})
    assert worked(found, reference) == "DISCARDED"
    assert balanced(found)["discarded"] == 1


def test_a_later_input_that_is_discarded_leaves_the_exception_where_it_rested(world: MakeWorld) -> None:
    # given an exception that was resolved, and an update that could not be worked
    found, tools, reference = dead(world)
    tools.refusing.clear()
    sent_again(found, reference)
    assert worked(found, reference) == "RESOLVED"
    later = queued(found, reference, InputType.UPDATED, {"rawPayload": {"price": 2}})
    tools.refusing.add("1")
    assert worked(found, reference) == "DEAD_LETTERED"
    # when the update is discarded
    discarded(found, later)
    # then it is resolved, as before
    assert found.status(reference) == "RESOLVED"
    assert balanced(found) == {"inFlight": 0, "deadLettered": 0, "discarded": 0}


def test_a_step_that_was_not_taken_in_still_waits_for_its_person(world: MakeWorld) -> None:
    # given a plan that waits for a person, and an answer to a step that does not wait
    found, tools, reference = dead(world, MANUAL, call(2, ONCE, "book"))
    assert found.status(reference) == "PENDING_STEP"
    wrong = queued(found, reference, InputType.STEP_COMPLETED, {"step": "7"})
    assert worked(found, reference) == "DEAD_LETTERED"
    # when it is discarded, then the person can still complete the step
    discarded(found, wrong)
    assert found.status(reference) == "PENDING_STEP"
    tools.refusing.clear()
    queued(found, reference, InputType.STEP_COMPLETED, {"step": "1"})
    assert worked(found, reference) == "RESOLVED"


def test_a_plan_that_nothing_can_carry_on_ends_with_its_timers(world: MakeWorld) -> None:
    # given a step that a person completed, a call after it that was refused, and a timer of the plan
    found, _, reference = dead(world, MANUAL, call(2, ONCE, "book"))
    later = queued(found, reference, InputType.STEP_COMPLETED, {"step": "1"})
    assert worked(found, reference) == "DEAD_LETTERED"
    with unit_of_work(found.application, [found.tenant.tenant_id]) as transaction:
        transaction.run(
            """INSERT INTO timers (exception_id, kind, step, tenant_id, due_at)
               VALUES (%(id)s, 'wait', '9', %(t)s, %(d)s)""",
            {"id": str(reference.exception_id), "t": found.tenant.tenant_id, "d": found.now + timedelta(days=1)},
        )
    # when it is discarded
    discarded(found, later)
    # then the exception is, and nothing will wake it
    assert found.status(reference) == "DISCARDED"
    assert found.rows("SELECT 1 FROM timers WHERE {own}", reference) == []
    assert balanced(found) == {"inFlight": 0, "deadLettered": 0, "discarded": 1}
