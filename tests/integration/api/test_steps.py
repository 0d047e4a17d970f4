"""What people do for plans under way: answers to forms, signals, and calls whose outcome nobody knows."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from service.domain.plans import Block, Plan, PlanStep, StepKind
from tests.integration.api.situations import by_hand, call, waits_in_plan
from tests.integration.api.world import Caller, Tenant, World, refused

FORM: dict[str, Any] = {
    "type": "object",
    "required": ["amount", "reason"],
    "properties": {
        "amount": {"type": "number", "minimum": 0},
        "reason": {"enum": ["agreed", "corrected"]},
        "legs": {"type": "array", "items": {"type": "object", "required": ["account"]}},
    },
    "additionalProperties": False,
}


@pytest.fixture
def operator(world: World, tenant: Tenant) -> Caller:
    return world.caller(tenant, "operator")


@pytest.mark.parametrize(
    ("answer", "paths"),
    [
        (None, ["answer"]),
        ("agreed", ["answer"]),
        ({}, ["answer.amount", "answer.reason"]),
        ({"amount": -1, "reason": "agreed"}, ["answer.amount"]),
        ({"amount": "5", "reason": "made up"}, ["answer.amount", "answer.reason"]),
        ({"amount": 5, "reason": "agreed", "note": "hm"}, ["answer.note"]),
        ({"amount": 5, "reason": "agreed", "legs": [{"account": 1}, {}]}, ["answer.legs[1].account"]),
    ],
)
def test_an_answer_that_does_not_fit_its_form_is_told_where(
    world: World, tenant: Tenant, operator: Caller, answer: Any, paths: list[str]
) -> None:
    # given a step with a form
    exception_id = operator.accepted()
    waits_in_plan(world, tenant, exception_id, by_hand(**FORM), steps={"1": "done"})
    before = world.stored(tenant)
    # when it is completed with another answer than the form takes
    body = {"comment": "done"} if answer is None else {"comment": "done", "answer": answer}
    problem = refused(operator.post(f"/exceptions/{exception_id}/steps/2/complete", body), 422, "invalid")
    # then every fault has its path, no value is repeated, and nothing is stored
    assert [fault["path"] for fault in problem["errors"]] == paths
    assert "made up" not in str(problem)
    assert world.stored(tenant) == before


def test_an_answer_that_fits_goes_on_to_the_playbook(world: World, tenant: Tenant, operator: Caller) -> None:
    # given a step with a form, which people see with what they are to do
    exception_id = operator.accepted()
    until = datetime.now(UTC) + timedelta(hours=2)
    waits_in_plan(world, tenant, exception_id, by_hand(**FORM), steps={"1": "done"}, timers={"2": until})
    (waiting,) = operator.get(f"/exceptions/{exception_id}").json["waitingFor"]
    assert (waiting["kind"], waiting["step"], waiting["name"]) == ("manual", "2", "look 2")
    assert (waiting["instructions"], waiting["form"]) == ("look at it", FORM)
    assert datetime.fromisoformat(waiting["until"]) == until
    # when it is answered
    body = {"comment": "by phone", "answer": {"amount": 5, "reason": "agreed"}}
    answer = operator.post(f"/exceptions/{exception_id}/steps/2/complete", body)
    # then it is worked
    assert (answer.status_code, answer.json["status"]) == (202, "IN_PROGRESS")
    assert world.outbox(tenant, exception_id)[1:] == [(2, 3, True)]
    assert operator.timeline(exception_id)[-1]["data"] == {"step": "2", "stepOrder": 2, "by": "the operator"}


def test_a_form_never_makes_the_api_look_elsewhere(world: World, tenant: Tenant, operator: Caller) -> None:
    # given a form that refers to a schema on a server
    exception_id = operator.accepted()
    with socket.create_server(("127.0.0.1", 0)) as server:
        form = {"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"}
        waits_in_plan(world, tenant, exception_id, by_hand(**form), steps={"1": "done"})
        # when it is answered
        answer = operator.post(f"/exceptions/{exception_id}/steps/2/complete", {"answer": {}})
        # then that is refused, and nobody asked the server
        assert [fault["path"] for fault in refused(answer, 422, "invalid")["errors"]] == ["answer"]
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_an_answer_has_bounds(world: World, tenant: Tenant, operator: Caller) -> None:
    exception_id = operator.accepted()
    waits_in_plan(world, tenant, exception_id, by_hand(), steps={"1": "done"})
    body = {"answer": "x" * 70_000}
    problem = refused(operator.post(f"/exceptions/{exception_id}/steps/2/complete", body), 422, "invalid")
    assert [fault["path"] for fault in problem["errors"]] == ["answer"]


@pytest.mark.parametrize("path", ["1", "3", "2.1", "2[0].1", "2/undo", "no step", "1" * 300])
def test_a_path_that_nothing_waits_at_is_a_conflict(world: World, tenant: Tenant, operator: Caller, path: str) -> None:
    exception_id = operator.accepted()
    waits_in_plan(world, tenant, exception_id, by_hand(), steps={"1": "done"})
    answer = operator.post(f"/exceptions/{exception_id}/steps/{quote(path, safe='')}/complete")
    assert "waits for step 2" in refused(answer, 409, "conflict")["detail"]


def test_an_exception_says_until_when_it_waits_and_for_which_signal(
    world: World, tenant: Tenant, operator: Caller
) -> None:
    # given a plan that waits for a time, and one that waits for a signal, but not for ever
    until = datetime.now(UTC) + timedelta(minutes=5)
    waits = {"time": {"minutes": 5}, "signal": {"event": "payment.received"}}
    for kind, parameters in waits.items():
        exception_id = operator.accepted()
        plan = Plan("patient", (PlanStep(1, "a while", StepKind.WAIT, "wait", parameters),))
        waits_in_plan(world, tenant, exception_id, plan, timers={"1": until}, status="WAITING")
        # then it tells
        found = operator.get(f"/exceptions/{exception_id}").json
        (waiting,) = found["waitingFor"]
        assert (waiting["kind"], waiting["signal"]) == (kind, parameters.get("event"))
        assert datetime.fromisoformat(waiting["until"]) == until
        # and it is found by its status, and counted as waiting
        listed = operator.get("/exceptions?status=WAITING").json["items"]
        assert exception_id in [one["exceptionId"] for one in listed]
    assert operator.get("/ledger").json["waiting"] == 2
    assert operator.get("/ledger").json["balanced"]


def test_a_signal_is_taken_with_what_goes_with_it(world: World, tenant: Tenant) -> None:
    # given a plan that waits for a signal
    source = world.caller(tenant, "ingest")
    exception_id = source.accepted()
    plan = Plan("patient", (PlanStep(1, "a while", StepKind.WAIT, "wait", {"event": "payment.received"}),))
    waits_in_plan(world, tenant, exception_id, plan, status="WAITING")
    # when its source sends it
    answer = source.post(f"/exceptions/{exception_id}/events", {"type": "payment.received", "data": {"ssn": "1"}})
    # then it goes to the playbook, and its data is in no event
    assert (answer.status_code, answer.json["status"]) == (202, "IN_PROGRESS")
    assert world.outbox(tenant, exception_id)[1:] == [(2, 3, True)]
    told = source.timeline(exception_id)[-1]
    assert (told["type"], told["data"]) == (
        "ExceptionUpdated",
        {"type": "signal", "name": "payment.received", "by": "the ingest"},
    )


@pytest.mark.parametrize("verdict", ["done", "not_done", "resend"])
def test_a_person_says_what_became_of_a_call(world: World, tenant: Tenant, operator: Caller, verdict: str) -> None:
    # given a call whose answer nobody knows
    exception_id = operator.accepted()
    keys = waits_in_plan(world, tenant, exception_id, call(), effects={"1": "unknown"})
    # when somebody looks, then the evidence is there
    found = operator.get(f"/exceptions/{exception_id}").json
    (effect,) = found["unknownEffects"]
    assert (effect["idempotencyKey"], effect["step"], effect["tool"]) == (keys["1"], "1", "bookEntry")
    assert (effect["attempt"], effect["error"]) == (1, "no answer within 2 s")
    assert [waiting["kind"] for waiting in found["waitingFor"]] == ["effect"]
    # when they found out
    body = {"verdict": verdict, "comment": "I asked them"}
    answer = operator.post(f"/exceptions/{exception_id}/effects/{keys['1']}/resolve", body)
    # then it goes on at the playbook, and the timeline says who said what
    assert answer.status_code == 202, answer.text
    assert world.outbox(tenant, exception_id)[1:] == [(2, 3, True)]
    told = operator.timeline(exception_id)[-1]
    assert told["data"] == {
        "type": "effect_resolved", "by": "the operator", "verdict": verdict, "idempotencyKey": keys["1"], "step": "1",
    }  # fmt: skip
    # and nobody can say otherwise meanwhile
    refused(operator.post(f"/exceptions/{exception_id}/effects/{keys['1']}/resolve", body), 409, "conflict")


@pytest.mark.parametrize("state", ["intent", "sent", "confirmed", "failed"])
def test_only_an_unknown_effect_can_be_resolved(world: World, tenant: Tenant, operator: Caller, state: str) -> None:
    exception_id = operator.accepted()
    keys = waits_in_plan(world, tenant, exception_id, call(), effects={"1": state})
    before = world.stored(tenant)
    body = {"verdict": "done", "comment": "I asked them"}
    answer = operator.post(f"/exceptions/{exception_id}/effects/{keys['1']}/resolve", body)
    assert f"is {state}" in refused(answer, 409, "conflict")["detail"]
    assert world.stored(tenant) == before


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "comment"),
        ({"comment": "ok"}, "verdict"),
        ({"comment": "ok", "verdict": "perhaps"}, "verdict"),
        ({"comment": " ", "verdict": "done"}, "comment"),
        ({"comment": "ok", "verdict": "resend", "output": 5}, "output"),
        ({"comment": "ok", "verdict": "done", "output": "x" * 70_000}, "output"),
    ],
)
def test_a_verdict_is_one_of_three_with_its_reason(
    world: World, tenant: Tenant, operator: Caller, body: dict[str, Any], path: str
) -> None:
    exception_id = operator.accepted()
    keys = waits_in_plan(world, tenant, exception_id, call(), effects={"1": "unknown"})
    problem = refused(operator.post(f"/exceptions/{exception_id}/effects/{keys['1']}/resolve", body), 422, "invalid")
    assert path in [fault["path"] for fault in problem["errors"]]


@pytest.mark.parametrize("key", [str(uuid4()), "17", "%00"])
def test_an_effect_that_is_not_there_cannot_be_resolved(
    world: World, tenant: Tenant, operator: Caller, key: str
) -> None:
    exception_id = operator.accepted()
    waits_in_plan(world, tenant, exception_id, call(), effects={"1": "unknown"})
    body = {"verdict": "done", "comment": "I asked them"}
    refused(operator.post(f"/exceptions/{exception_id}/effects/{key}/resolve", body), 404, "not-found")


def test_completing_a_step_whose_call_is_unknown_says_that_it_was_done(
    world: World, tenant: Tenant, operator: Caller
) -> None:
    exception_id = operator.accepted()
    waits_in_plan(world, tenant, exception_id, call(), effects={"1": "unknown"})
    answer = operator.post(f"/exceptions/{exception_id}/steps/1/complete", {"comment": "I asked them"})
    assert answer.status_code == 202
    assert world.outbox(tenant, exception_id)[1:] == [(2, 3, True)]


def test_several_steps_wait_at_once_and_each_is_completed_by_its_path(
    world: World, tenant: Tenant, operator: Caller
) -> None:
    # given a plan that asks two people for the same, one for each item of a list
    exception_id = operator.accepted()
    look = PlanStep(1, "look", StepKind.MANUAL, "look at it", path="2[*].1")
    each = {"items": ["a", "b", "c"], "max": 100, "parallel": True}
    loop = PlanStep(2, "all of them", StepKind.GROUP, "foreach", each, blocks=(Block(None, (look,)),))
    plan = Plan("for-each", (PlanStep(1, "first", StepKind.MANUAL, "begin"), loop))
    waits_in_plan(world, tenant, exception_id, plan, steps={"1": "done", "2[1].1": "done"})
    # then it shows who is waited for
    found = operator.get(f"/exceptions/{exception_id}").json
    assert [waiting["step"] for waiting in found["waitingFor"]] == ["2[0].1", "2[2].1"]
    assert [(step["path"], step["state"]) for step in found["plan"]["steps"]] == [
        ("1", "completed"), ("2", "ahead"), ("2[0].1", "current"), ("2[1].1", "completed"), ("2[2].1", "current"),
    ]  # fmt: skip
    # and what is done, or is no item, cannot be completed
    for path in ("2[1].1", "2[3].1", "2[*].1", "2.1"):
        answer = operator.post(f"/exceptions/{exception_id}/steps/{quote(path, safe='')}/complete")
        assert "step 2[0].1 and step 2[2].1" in refused(answer, 409, "conflict")["detail"]
    # when one of them is
    answer = operator.post(f"/exceptions/{exception_id}/steps/{quote('2[2].1', safe='')}/complete")
    # then the playbook gets to know which
    assert answer.status_code == 202, answer.text
    assert operator.timeline(exception_id)[-1]["data"] == {"step": "2[2].1", "stepOrder": 2, "by": "the operator"}
