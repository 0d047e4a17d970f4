"""Approvals over HTTP: what people are asked, that they decide about the plan they saw, and that two are two."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.domain.plan_documents import plan_hash
from service.persistence.administration import create_key, key_of
from service.persistence.unit_of_work import unit_of_work
from tests.integration.api.situations import asks_for_approval, by_hand, call
from tests.integration.api.world import Caller, Tenant, World, refused

WHY = {"comment": "I have looked at it"}


@pytest.fixture
def colleague(world: World, tenant: Tenant) -> Caller:
    """Another operator, with a key of their own and the same name on it."""
    key = key_of(secrets.token_bytes(32))
    with unit_of_work(world.system) as transaction:
        create_key(transaction, tenant.tenant_id, "operator", "the operator", key=key, key_id=uuid4())
    return Caller(world.client, key)


@pytest.fixture
def operator(world: World, tenant: Tenant) -> Caller:
    return world.caller(tenant, "operator")


def test_people_see_what_they_are_asked(world: World, tenant: Tenant, operator: Caller) -> None:
    # given an exception whose plan has to be approved within an hour, by two people
    exception_id = operator.accepted()
    due = datetime.now(UTC) + timedelta(hours=1)
    digest = asks_for_approval(world, tenant, exception_id, call(5), needed=2, due=due)
    # when somebody looks at it
    found = operator.get(f"/exceptions/{exception_id}").json
    # then they see why, what, by whom and until when
    approval = found["approval"]
    assert (approval["state"], approval["reason"], approval["planHash"]) == ("pending", "severity CRITICAL", digest)
    assert (approval["playbook"], approval["steps"]) == ("book", ['1 Book it: call_tool bookEntry {"amount":5}'])
    assert (approval["approvals"], approval["approvalsNeeded"]) == ([], 2)
    assert datetime.fromisoformat(approval["dueAt"]) == due
    (waiting,) = found["waitingFor"]
    assert (waiting["kind"], datetime.fromisoformat(waiting["until"])) == ("approval", due)
    # and that no step is under way
    assert [step["state"] for step in found["plan"]["steps"]] == ["ahead"]


@pytest.mark.parametrize("decision", ["approve", "reject"])
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "comment"),
        (None, "comment"),
        ({"comment": "  "}, "comment"),
        ({"comment": None}, "comment"),
        ({"comment": 5}, "comment"),
        ({"comment": "x" * 10_001}, "comment"),
        ({"comment": "ok", "planHash": 5}, "planHash"),
        ({"comment": "ok", "force": True}, "force"),
    ],
)
def test_a_decision_says_why(
    world: World, tenant: Tenant, operator: Caller, decision: str, body: object, path: str
) -> None:
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id)
    before = world.stored(tenant)
    problem = refused(operator.post(f"/exceptions/{exception_id}/{decision}", body), 422, "invalid")
    assert [fault["path"] for fault in problem["errors"]] == [path]
    assert world.stored(tenant) == before


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_decision_about_a_plan_that_changed_is_refused(
    world: World, tenant: Tenant, operator: Caller, decision: str
) -> None:
    # given a plan that somebody looked at, and another that waits for approval by now
    exception_id = operator.accepted()
    digest = asks_for_approval(world, tenant, exception_id, call(500))
    before = world.stored(tenant)
    seen = plan_hash(call(5))
    # when they decide about what they saw
    answer = operator.post(f"/exceptions/{exception_id}/{decision}", {**WHY, "planHash": seen})
    # then they are told, and nothing is stored
    assert "plan changed" in refused(answer, 409, "conflict")["detail"]
    assert world.stored(tenant) == before
    # when they decide about what is there, then it is taken
    assert operator.post(f"/exceptions/{exception_id}/{decision}", {**WHY, "planHash": digest}).status_code == 202


def test_two_people_have_to_approve(world: World, tenant: Tenant, operator: Caller, colleague: Caller) -> None:
    # given a plan that needs two people
    exception_id = operator.accepted()
    digest = asks_for_approval(world, tenant, exception_id, call(), needed=2)
    path = f"/exceptions/{exception_id}/approve"
    # when one approves
    first = operator.post(path, WHY)
    # then the exception goes on waiting, and everybody sees who did
    assert first.status_code == 202
    assert (first.json["status"], first.json["sequence"]) == ("PENDING_APPROVAL", 1)
    assert (first.json["approvalsGiven"], first.json["approvalsNeeded"]) == (1, 2)
    found = operator.get(f"/exceptions/{exception_id}").json
    assert found["status"] == "PENDING_APPROVAL"
    assert [given["by"] for given in found["approval"]["approvals"]] == ["the operator"]
    granted = operator.timeline(exception_id)[-1]
    assert (granted["type"], granted["data"]) == (
        "ApprovalGranted",
        {"by": "the operator", "planHash": digest, "given": 1, "needed": 2},
    )
    assert world.outbox(tenant, exception_id) == [(1, 0, True)]
    # when the same one approves again
    again = operator.post(path, WHY)
    # then that is refused with the reason
    assert "has approved already" in refused(again, 409, "conflict")["detail"]
    # when somebody else does, even of the same name
    second = colleague.post(path, WHY)
    # then it goes back into the chain at policy
    assert (second.json["status"], second.json["sequence"]) == ("IN_PROGRESS", 2)
    assert (second.json["approvalsGiven"], second.json["approvalsNeeded"]) == (2, 2)
    assert world.outbox(tenant, exception_id)[1:] == [(2, 2, True)]
    assert operator.get(f"/exceptions/{exception_id}").json["approval"]["state"] == "approved"


def test_an_approval_sent_again_under_its_key_counts_once(world: World, tenant: Tenant, operator: Caller) -> None:
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, call(), needed=2)
    answers = [operator.post(f"/exceptions/{exception_id}/approve", WHY, Idempotency_Key="a-1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json == answers[1].json
    assert world.stored(tenant)["approvals_given"] == 1


def test_one_person_is_enough_to_reject(world: World, tenant: Tenant, operator: Caller, colleague: Caller) -> None:
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, call(), needed=2)
    assert operator.post(f"/exceptions/{exception_id}/approve", WHY).status_code == 202
    assert colleague.post(f"/exceptions/{exception_id}/reject", {"reason": "wrong account"}).status_code == 202
    assert world.outbox(tenant, exception_id)[1:] == [(2, 2, True)]
    assert operator.get(f"/exceptions/{exception_id}").json["approval"]["state"] == "rejected"


def test_of_two_who_decide_at_the_same_moment_one_does(
    world: World, tenant: Tenant, operator: Caller, colleague: Caller
) -> None:
    # given an exception that waits for one approval, locked for a moment
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, call())
    lock = "SELECT 1 FROM exceptions WHERE exception_id = %(id)s FOR UPDATE"

    def decide(caller: Caller, decision: str) -> int:
        sender = Caller(world.client.application.test_client(), caller.key)
        return sender.post(f"/exceptions/{exception_id}/{decision}", WHY).status_code

    # when one approves and the other rejects
    with ThreadPoolExecutor(2) as people:
        with world.holding(tenant, lock, {"id": exception_id}, waiting=2):
            answers = [people.submit(decide, operator, "approve"), people.submit(decide, colleague, "reject")]
        codes = [answer.result(timeout=30) for answer in answers]
    # then one of them is told that it was decided
    assert sorted(codes) == [202, 409]
    assert len(world.outbox(tenant, exception_id)) == 2


def test_after_its_time_nobody_can_approve(world: World, tenant: Tenant, operator: Caller) -> None:
    # given an approval whose time ended a moment ago, its timer still to fire
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, call(), due=datetime.now(UTC) - timedelta(seconds=1))
    before = world.stored(tenant)
    answer = operator.post(f"/exceptions/{exception_id}/approve", WHY)
    assert "time to decide ended" in refused(answer, 409, "conflict")["detail"]
    assert world.stored(tenant) == before


def test_nobody_is_asked_about_what_was_cancelled(world: World, tenant: Tenant, operator: Caller) -> None:
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, call())
    assert operator.post(f"/exceptions/{exception_id}/cancel", WHY).status_code == 202
    assert operator.get(f"/exceptions/{exception_id}").json["approval"]["state"] == "superseded"


def test_an_approval_of_by_hand_steps_shows_no_parameters_of_theirs(
    world: World, tenant: Tenant, operator: Caller
) -> None:
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, by_hand())
    assert "s3cr3t" not in operator.get(f"/exceptions/{exception_id}").text


def test_what_was_asked_for_an_earlier_plan_is_not_shown_with_the_newer_one(
    world: World, tenant: Tenant, operator: Caller
) -> None:
    # given an approval of a plan, and a later plan that needs none
    exception_id = operator.accepted()
    asks_for_approval(world, tenant, exception_id, call(5))
    asks_for_approval(world, tenant, exception_id, call(7), sequence=2)
    world.as_engine(tenant, lambda t: t.run("DELETE FROM timers WHERE exception_id = %(id)s", {"id": exception_id}))
    # then the newest of both is shown
    approval = operator.get(f"/exceptions/{exception_id}").json["approval"]
    assert (approval["planHash"], approval["steps"]) == (
        plan_hash(call(7)),
        ['1 Book it: call_tool bookEntry {"amount":7}'],
    )
