"""Redriving on a real database: once, from which stage, with which packs, and no effect of a plan a second time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from service.domain.exceptions import InputType, PackChoice, Stage, Status
from service.domain.redriving import Wish
from service.engine.batch import Batch, Reference
from service.engine.operations import settle
from service.engine.redriving import redrive
from service.persistence.redriving import Act, DeadLetterDesk
from service.persistence.unit_of_work import unit_of_work
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.dead_letters import (
    Tools,
    activate,
    letter_of,
    outbox,
    sent_again,
    worked,
)
from tests.integration.engine.plans import AGAIN, ONCE, World, call
from tests.integration.verdicts import broken_promises

pytestmark = pytest.mark.stack

TWO_CALLS = [call(1, ONCE, "book"), call(2, ONCE, "settle")]


def playbooks(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"playbooks": [{"name": "tested", "exceptionType": "STALE_PRICE_ALERT", "steps": list(steps)}]}


def dead(world: MakeWorld, steps: Sequence[Any] = TWO_CALLS, refusing: str = "2") -> tuple[World, Tools, Reference]:
    """An exception that is dead-lettered because the tool refused one of its plan's calls."""
    tools = Tools({refusing})
    found = world(steps, script=tools)
    reference = found.planned()
    found.delivered(reference)
    assert found.status(reference) == "DEAD_LETTERED"
    return found, tools, reference


def test_it_goes_on_where_it_failed_and_repeats_nothing(world: MakeWorld) -> None:
    # given a plan whose first call has happened and whose second was refused
    found, tools, reference = dead(world)
    happened = list(found.worked)
    # when the tool is mended and a person sends it again
    tools.refusing.clear()
    result = sent_again(found, reference)
    # then it is ready at the stage where it failed, with all its tries
    assert result.done
    assert result.resumption is not None
    assert result.resumption.stage is Stage.TOOL
    assert outbox(found, reference) == [(1, Stage.TOOL, True)]
    assert letter_of(found, reference).state == "redriving"
    # and who did it and why is on its timeline
    ((_, told),) = found.events("Redriven")
    letter_id = str(letter_of(found, reference).dead_letter_id)
    expected = {"by": "ann", "reason": "the account exists now", "fromStage": "tool", "packs": "recorded", "redrive": 1}
    assert told == {**expected, "deadLetterId": letter_id}
    # when it is worked, then it is resolved and the first call was made once
    assert worked(found, reference) == "RESOLVED"
    assert found.worked[: len(happened)] == happened
    assert len(found.worked) == len(set(found.worked)) == 2
    # and the dead letter says so once somebody has looked
    settle(found.application, found.tenant.tenant_id)
    assert letter_of(found, reference).state == "succeeded"
    assert letter_of(found, reference).settled_at is not None
    with unit_of_work(found.system) as transaction:
        assert broken_promises(transaction, found.tenant.tenant_id) == {}


def test_what_fails_again_is_the_same_dead_letter(world: MakeWorld) -> None:
    found, tools, reference = dead(world)
    first = letter_of(found, reference)
    sent_again(found, reference)
    assert worked(found, reference) == "DEAD_LETTERED"
    again = letter_of(found, reference)
    assert (again.dead_letter_id, again.state, again.redrives) == (first.dead_letter_id, "pending", 1)
    assert again.position > first.position
    tools.refusing.clear()
    assert sent_again(found, reference).redrives == 2
    assert worked(found, reference) == "RESOLVED"


def test_sending_again_twice_sends_it_once(world: MakeWorld) -> None:
    found, _, reference = dead(world)
    assert sent_again(found, reference).done
    second = sent_again(found, reference)
    assert not second.done
    assert second.why_not == "it is being worked again"
    assert len(found.events("Redriven")) == 1
    assert letter_of(found, reference).redrives == 1


def test_of_many_that_send_it_at_once_one_does(world: MakeWorld) -> None:
    # given several dead letters and people who choose them all, in different orders
    tools = Tools({"2"})
    found = world(TWO_CALLS, script=tools)
    references = [found.planned() for _ in range(6)]
    for reference in references:
        found.delivered(reference)
    ids = [letter_of(found, reference).dead_letter_id for reference in references]

    def person(number: int) -> int:
        mine = ids[number:] + ids[:number]
        tenant = found.tenant.tenant_id
        with unit_of_work(found.application, [tenant]) as transaction:
            act = Act(f"person {number}", "all together")
            return sum(one.done for one in redrive(transaction, tenant, mine, Wish(), act, found.now))

    # when they do so at the same moment
    with ThreadPoolExecutor(4) as people:
        done = list(people.map(person, range(4)))
    # then each was sent by one of them, once
    assert sum(done) == len(ids)
    assert len(found.events("Redriven")) == len(ids)
    with unit_of_work(found.system) as transaction:
        transaction.run("DELETE FROM outbox WHERE tenant_id = %(t)s", {"t": found.tenant.tenant_id})


def test_only_what_is_still_dead_moves(world: MakeWorld) -> None:
    # given a dead letter whose exception is being worked for another reason
    found, _, reference = dead(world)
    with unit_of_work(found.application, [found.tenant.tenant_id]) as transaction:
        transaction.run(
            "UPDATE exceptions SET status = 'IN_PROGRESS' WHERE exception_id = %(id)s",
            {"id": str(reference.exception_id)},
        )
    # then nothing moves
    result = sent_again(found, reference)
    assert not result.done
    assert outbox(found, reference) == []
    assert letter_of(found, reference).state == "pending"


def test_another_tenants_dead_letter_is_not_there(world: MakeWorld) -> None:
    found, _, reference = dead(world)
    other, _, _ = dead(world)
    ids = [letter_of(found, reference).dead_letter_id]
    with unit_of_work(other.application, [other.tenant.tenant_id]) as transaction:
        (result,) = redrive(transaction, other.tenant.tenant_id, ids, Wish(), Act("eve", "x"), other.now)
    assert (result.done, result.why_not) == (False, "there is no such dead letter")
    assert found.status(reference) == "DEAD_LETTERED"


@pytest.mark.parametrize("stage", [Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK])
def test_planned_again_to_the_same_plan_it_goes_on_with_it(world: MakeWorld, stage: Stage) -> None:
    # given a plan whose first call has happened
    found, tools, reference = dead(world)
    tools.refusing.clear()
    # when it is sent again from before the plan was made, and the packs are the same
    sent_again(found, reference, stage)
    assert worked(found, reference) == "RESOLVED"
    # then the plan from before was gone on with
    assert found.events("PlaybookMatched")[-1][1].get("goesOn") is True
    assert len(found.rows("SELECT plan_id FROM plans WHERE {own}", reference)) == 1
    assert len(found.worked) == len(set(found.worked)) == 2
    with unit_of_work(found.system) as transaction:
        assert broken_promises(transaction, found.tenant.tenant_id) == {}


def test_the_active_packs_plan_anew_and_adopt_what_happened(world: MakeWorld) -> None:
    # given a plan whose first call has happened and whose second is wrong in the pack
    found, tools, reference = dead(world)
    activate(found, playbooks(call(1, ONCE, "book"), call(2, AGAIN, "otherwise")))
    tools.refusing.clear()
    # when it is sent again with the packs recorded, from intake
    sent_again(found, reference, Stage.INTAKE)
    tools.refusing.add("2")
    assert worked(found, reference) == "DEAD_LETTERED"
    assert _versions(found, reference) == 1
    # then it went by them; when it is sent again with the active ones
    tools.refusing.clear()
    result = sent_again(found, reference, packs=PackChoice.ACTIVE)
    assert result.resumption is not None
    assert result.resumption.stage is Stage.INTAKE
    assert worked(found, reference) == "RESOLVED", letter_of(found, reference).message
    # then the first call, which both plans have, was not made a second time, and the new one was
    assert _versions(found, reference) == 2
    assert len(found.worked) == len(set(found.worked)) == 2
    rows = found.rows("SELECT step, tool, state FROM tool_executions WHERE {own} ORDER BY step", reference)
    assert [tuple(row) for row in rows] == [("1", ONCE, "confirmed"), ("2", AGAIN, "confirmed")]


def test_a_new_plan_that_would_repeat_an_effect_is_not_carried_out(world: MakeWorld) -> None:
    # given a plan whose first call has happened
    found, tools, reference = dead(world)
    before = list(found.worked)
    # when the active packs do the same call with other parameters
    activate(found, playbooks(call(1, ONCE, "book", {"amount": 7}), call(2, ONCE, "settle")))
    tools.refusing.clear()
    sent_again(found, reference, packs=PackChoice.ACTIVE)
    # then it is dead-lettered again, and says what happened already and what can be done
    assert worked(found, reference) == "DEAD_LETTERED"
    letter = letter_of(found, reference)
    assert (letter.error_class, letter.stage) == ("PlanWouldRepeat", Stage.PLAYBOOK)
    assert f"the call of {ONCE} at step 1 is confirmed" in letter.message
    assert found.worked == before


def test_a_call_without_an_answer_is_not_made_at_another_step(world: MakeWorld) -> None:
    # given a tool that ignores repeated keys and was called, perhaps with effect
    found, tools, reference = dead(world, [call(1, AGAIN, "settle")], refusing="1")
    # when the new plan calls it at another step, hence under another key
    activate(found, playbooks(call(1, ONCE, "book"), call(2, AGAIN, "settle")))
    tools.refusing.clear()
    sent_again(found, reference, packs=PackChoice.ACTIVE)
    # then it is not carried out
    assert worked(found, reference) == "DEAD_LETTERED"
    assert "the new plan calls it at another step" in letter_of(found, reference).message
    assert found.worked == []


def test_a_plan_that_nothing_came_of_is_replaced(world: MakeWorld) -> None:
    # given a plan with a condition and a refused call
    steps = [call(1, ONCE, "book", condition="exceptionType == 'STALE_PRICE_ALERT'"), call(2, ONCE, "settle")]
    found, tools, reference = dead(world, steps, refusing="1")
    # when the active packs have another plan
    activate(found, playbooks(call(1, AGAIN, "otherwise")))
    tools.refusing.clear()
    sent_again(found, reference, packs=PackChoice.ACTIVE)
    # then it is carried out in place of the first
    assert worked(found, reference) == "RESOLVED"
    rows = found.rows("SELECT step, tool, state FROM tool_executions WHERE {own}", reference)
    assert [tuple(row) for row in rows] == [("1", AGAIN, "confirmed")]


def test_an_unknown_effect_goes_on_waiting_for_a_person(world: MakeWorld) -> None:
    # given two calls side by side: one without an answer, the other refused
    beside = {
        "step_order": 1,
        "name": "both",
        "action_type": "parallel",
        "params": {"branches": [[call(1, ONCE, "book")], [call(1, ONCE, "settle")]]},
    }
    tools = Tools(refusing={"1.2.1"}, unanswered={"1.1.1"})
    found = world([beside], script=tools)
    reference = found.planned()
    found.delivered(reference)
    assert found.status(reference) == "DEAD_LETTERED"
    # when it is sent again and the tool works
    tools.refusing.clear()
    tools.unanswered.clear()
    sent_again(found, reference)
    # then the refused call is made, the one in doubt is not, and a person is asked
    assert worked(found, reference) == "PENDING_STEP"
    (doubtful,) = found.rows("SELECT idempotency_key FROM tool_executions WHERE {own} AND state = 'unknown'")
    assert found.asked[str(doubtful[0])] == 1
    assert len(found.worked) == 1


def test_what_the_plan_has_taken_in_cannot_be_given_to_it_again(world: MakeWorld) -> None:
    manual = {"step_order": 1, "name": "look", "action": "look at it"}
    tools = Tools({"2"})
    found = world([manual, call(2, ONCE, "book")], script=tools)
    reference = found.planned()
    later = found.told(reference, InputType.STEP_COMPLETED, {"step": "1"})
    found.delivered(later)
    assert found.status(reference) == "DEAD_LETTERED"
    refused = sent_again(found, later, Stage.PLAYBOOK)
    assert not refused.done
    assert "taken in already" in str(refused.why_not)
    tools.refusing.clear()
    assert sent_again(found, later).done
    assert worked(found, later) == "RESOLVED"


def test_a_stale_delivery_of_the_failed_one_changes_nothing(world: MakeWorld) -> None:
    # given an exception that was sent again from an earlier stage
    found, tools, reference = dead(world)
    tools.refusing.clear()
    sent_again(found, reference, Stage.TRIAGE)
    # when a delivery from before arrives late, at the stage where it failed
    retries = found.turns.start(Batch.single(reference)).retries
    # then it is merely early
    assert [type(retry.error).__name__ for retry in retries] == ["EarlyError"]
    assert worked(found, reference) == "RESOLVED"


def _versions(found: World, reference: Reference) -> int:
    statement = "SELECT domain_version FROM exceptions WHERE {own}"
    return int(found.rows(statement, reference)[0][0])


def test_what_was_judged_before_somebody_else_moved_it_does_not_move_again(world: MakeWorld) -> None:
    # given a dead letter as somebody saw it, before another sent it again
    found, _, reference = dead(world)
    tenant, letter_id = found.tenant.tenant_id, letter_of(found, reference).dead_letter_id
    with unit_of_work(found.application, [tenant]) as transaction:
        seen = DeadLetterDesk(transaction, tenant, found.now).locked([letter_id])[letter_id]
    sent_again(found, reference)
    # when it is moved by what was seen
    with unit_of_work(found.application, [tenant]) as transaction:
        desk = DeadLetterDesk(transaction, tenant, found.now)
        redriven = desk.redrive([(seen, Stage.TOOL, "recorded")], Act("bob", "late"))
        discarded = desk.discard([(seen, Status.DISCARDED)], Act("bob", "late"))
    # then nothing moves
    assert (redriven, discarded) == ({}, {})
    assert found.status(reference) == "IN_PROGRESS"
    assert len(found.events("Redriven", "Discarded")) == 1
