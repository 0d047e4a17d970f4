"""Dead letters sent again and discarded over HTTP: one by one at once, many as operations in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from service.dispatch.redrives import Redrives
from service.domain.exceptions import Stage
from service.engine.failures import ToolUnavailableError
from tests.integration.api.dying import dies, is_settled
from tests.integration.api.world import Caller, Tenant, World, refused

WHY = {"reason": "the account exists now"}


@pytest.fixture
def operator(world: World, tenant: Tenant) -> Caller:
    return world.caller(tenant, "operator")


@pytest.fixture
def dead(world: World, tenant: Tenant, operator: Caller) -> Callable[..., tuple[str, str]]:
    """An exception that died, and its dead letter."""

    def make(*arguments: Any, **more: Any) -> tuple[str, str]:
        exception_id = operator.accepted()
        world.as_engine(tenant, lambda t: t.run("DELETE FROM outbox WHERE exception_id = %(id)s", {"id": exception_id}))
        return exception_id, dies(world, tenant, exception_id, *arguments, **more)

    return make


Dead = Callable[..., tuple[str, str]]


def state_of(operator: Caller, letter: str) -> str:
    return str(operator.get(f"/dlq/{letter}").json["state"])


def look(world: World) -> None:
    """A dispatcher looks at what there is to do."""
    Redrives(world.system, world.application).once()


def test_one_is_sent_again_at_once(world: World, tenant: Tenant, operator: Caller, dead: Dead) -> None:
    exception_id, letter = dead()
    answer = operator.post(f"/dlq/{letter}/redrive", WHY)
    assert answer.status_code == 202
    assert answer.json == {
        "deadLetterId": letter,
        "exceptionId": exception_id,
        "sequence": 1,
        "state": "redriving",
        "status": "IN_PROGRESS",
        "redrives": 1,
        "changed": True,
    }
    assert world.outbox(tenant, exception_id) == [(1, Stage.TOOL, True)]
    # and who did it and why is on the timeline, and in the dead letter's story
    told = operator.timeline(exception_id)[-1]
    assert (told["type"], told["data"]["by"], told["data"]["reason"]) == ("Redriven", "the operator", WHY["reason"])
    assert operator.get(f"/dlq/{letter}").json["history"][-1]["outcome"] == "redriven"


def test_sending_it_again_while_it_is_worked_changes_nothing(operator: Caller, dead: Dead) -> None:
    exception_id, letter = dead()
    operator.post(f"/dlq/{letter}/redrive", WHY)
    again = operator.post(f"/dlq/{letter}/redrive", WHY)
    assert again.status_code == 202
    assert (again.json["state"], again.json["redrives"], again.json["changed"]) == ("redriving", 1, False)
    assert [event["type"] for event in operator.timeline(exception_id)].count("Redriven") == 1


def test_a_repeated_call_under_a_key_does_not_send_it_a_second_time(
    world: World, tenant: Tenant, operator: Caller, dead: Dead
) -> None:
    # given a redrive under a key, after which the exception died again
    exception_id, letter = dead()
    key = uuid4().hex
    assert operator.post(f"/dlq/{letter}/redrive", WHY, Idempotency_Key=key).json["changed"]
    dies(world, tenant, exception_id)
    # when the client, which did not get the answer, repeats the call
    again = operator.post(f"/dlq/{letter}/redrive", WHY, Idempotency_Key=key)
    # then it is not sent again: that was another person's or a later decision to make
    assert (again.status_code, again.json["state"], again.json["changed"]) == (202, "pending", False)
    refused(operator.post(f"/dlq/{letter}/redrive", {"reason": "other"}, Idempotency_Key=key), 422, "key-reused")


def test_from_an_earlier_stage_and_never_a_later_one(
    world: World, tenant: Tenant, operator: Caller, dead: Dead
) -> None:
    exception_id, letter = dead(stage=Stage.POLICY)
    problem = refused(operator.post(f"/dlq/{letter}/redrive", {**WHY, "fromStage": "tool"}), 409, "conflict")
    assert "failed at policy, so it cannot go on at tool" in problem["detail"]
    problem = refused(
        operator.post(f"/dlq/{letter}/redrive", {**WHY, "fromStage": "triage", "packs": "active"}), 409, "conflict"
    )
    assert "packs are chosen at intake" in problem["detail"]
    assert operator.post(f"/dlq/{letter}/redrive", {**WHY, "packs": "active"}).status_code == 202
    assert world.outbox(tenant, exception_id) == [(1, Stage.INTAKE, True)]


def test_one_is_discarded(operator: Caller, dead: Dead) -> None:
    exception_id, letter = dead()
    answer = operator.post(f"/dlq/{letter}/discard", WHY)
    assert (answer.status_code, answer.json["state"], answer.json["status"]) == (202, "discarded", "DISCARDED")
    assert operator.post(f"/dlq/{letter}/discard", WHY).json["changed"] is False
    assert "was discarded" in refused(operator.post(f"/dlq/{letter}/redrive", WHY), 409, "conflict")["detail"]
    ledger = operator.get("/ledger").json
    assert (ledger["discarded"], ledger["deadLettered"], ledger["balanced"]) == (1, 0, True)
    assert operator.timeline(exception_id)[-1]["type"] == "Discarded"


def test_what_is_over_stays_over(world: World, tenant: Tenant, operator: Caller, dead: Dead) -> None:
    _, letter = dead()
    operator.post(f"/dlq/{letter}/redrive", WHY)
    assert "being worked" in refused(operator.post(f"/dlq/{letter}/discard", WHY), 409, "conflict")["detail"]
    is_settled(world, tenant, letter, "succeeded")
    for verb in ("redrive", "discard"):
        assert "was finished" in refused(operator.post(f"/dlq/{letter}/{verb}", WHY), 409, "conflict")["detail"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "reason"),
        ({"reason": "  "}, "reason"),
        ({**WHY, "fromStage": "nowhere"}, "fromStage"),
        ({**WHY, "packs": "newest"}, "packs"),
        ({**WHY, "from_stage": "intake"}, "from_stage"),
    ],
)
def test_a_wrong_wish_is_told_where(operator: Caller, dead: Dead, body: dict[str, Any], path: str) -> None:
    _, letter = dead()
    problem = refused(operator.post(f"/dlq/{letter}/redrive", body), 422, "invalid")
    assert [fault["path"] for fault in problem["errors"]] == [path]
    assert state_of(operator, letter) == "pending"


def test_who_may_act(world: World, tenant: Tenant, dead: Dead) -> None:
    _, letter = dead()
    source, stranger = world.caller(tenant, "ingest"), world.caller(world.tenant(), "operator")
    for path in (f"/dlq/{letter}/redrive", f"/dlq/{letter}/discard"):
        refused(source.post(path, WHY), 403, "forbidden")
        refused(stranger.post(path, WHY), 404, "not-found")
    bulk = {**WHY, "filter": {"all": True}}
    for path in ("/dlq/redrive", "/dlq/discard"):
        refused(source.post(path, bulk), 403, "forbidden")
    assert stranger.post("/dlq/redrive", bulk).json["progress"]["total"] == 0
    assert state_of(world.caller(tenant, "operator"), letter) == "pending"


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(
    world: World, tenant: Tenant, operator: Caller, dead: Dead
) -> None:
    # given dead letters of two causes
    letters = [dead()[1] for _ in range(3)]
    dead(ToolUnavailableError("tool 'ship' answered 503"), tool="ship", stage=Stage.TOOL)
    early = dead(stage=Stage.TRIAGE)[1]
    before = world.stored(tenant)
    # when somebody asks what a redrive from policy of them all would do
    body = {**WHY, "filter": {"all": True}, "dryRun": True, "fromStage": "policy"}
    answer = operator.post("/dlq/redrive", body)
    # then it tells how many, by cause and by stage, and what would be left out and why
    assert answer.status_code == 200
    told = answer.json
    assert (told["matched"], told["wouldAct"]) == (5, 4)
    assert [one["count"] for one in told["byCluster"]] == [3, 1]
    assert told["byStage"] == [{"failedAt": "tool", "fromStage": "policy", "count": 4}]
    assert told["leftOut"] == [
        {"reason": "it failed at triage, so it cannot go on at policy: only there or earlier", "count": 1}
    ]
    assert [one["deadLetterId"] for one in told["examples"]][:3] == letters
    assert told["examples"][4]["deadLetterId"] == early
    # and nothing has changed
    assert world.stored(tenant) == before
    assert operator.get("/dlq/operations").json["items"] == []
    # and of a discard, where exceptions would rest
    told = operator.post("/dlq/discard", {**WHY, "filter": {"stage": "triage"}, "dryRun": True}).json
    assert told["byRest"] == {"DISCARDED": 1}


@pytest.mark.parametrize(
    ("chosen", "places"),
    [
        ({"all": True}, [0, 1, 2]),
        ({"stage": "tool"}, [0, 1]),
        ({"stage": ["tool", "triage"]}, [0, 1, 2]),
        ({"tool": "ship"}, [1]),
        ({"errorKind": "transient"}, [1]),
        ({"errorClass": "ToolRefused"}, [0, 2]),
        ({"exceptionType": "NOTHING_LIKE_IT"}, []),
        ({"from": "2100-01-01T00:00:00Z"}, []),
        ({"to": "2100-01-01T00:00:00Z", "q": "503"}, [1]),
    ],
)
def test_a_filter_chooses(operator: Caller, dead: Dead, chosen: dict[str, Any], places: list[int]) -> None:
    letters = [
        dead()[1],
        dead(ToolUnavailableError("tool 'ship' answered 503"), tool="ship")[1],
        dead(stage=Stage.TRIAGE)[1],
    ]
    told = operator.post("/dlq/redrive", {**WHY, "filter": chosen, "dryRun": True}).json
    assert [one["deadLetterId"] for one in told["examples"]] == [letters[place] for place in places]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"filter": {}}, "filter"),
        ({"filter": {"all": True, "tool": "ship"}}, "filter"),
        ({"filter": {"state": "discarded"}}, "filter.state"),
        ({"filter": {"all": True}, "limit": 0}, "limit"),
        ({"filter": {"all": True}, "canary": -1}, "canary"),
        ({"filter": {"all": True}, "ratePerSecond": 0}, "ratePerSecond"),
        ({"filter": {"stage": "nowhere"}}, "filter.stage[0]"),
        ({}, "filter"),
    ],
)
def test_a_wrong_operation_is_told_where(operator: Caller, dead: Dead, body: dict[str, Any], path: str) -> None:
    dead()
    problem = refused(operator.post("/dlq/redrive", {**WHY, **body}), 422, "invalid")
    assert [fault["path"] for fault in problem["errors"]] == [path]


@pytest.mark.parametrize("chosen", [{"errorKind": "odd"}, {"signature": "x"}, {"from": "yesterday"}])
def test_a_filter_is_refused_as_in_a_list(operator: Caller, chosen: dict[str, Any]) -> None:
    refused(operator.post("/dlq/redrive", {**WHY, "filter": chosen}), 422, "invalid")


def test_an_operation_is_worked_in_the_background_and_tells_how_far_it_is(
    world: World, tenant: Tenant, operator: Caller, dead: Dead
) -> None:
    pairs = [dead() for _ in range(3)]
    # when an operation is begun
    answer = operator.post("/dlq/redrive", {**WHY, "filter": {"tool": "settle"}, "limit": 2})
    # then the call has only written it down
    assert answer.status_code == 202
    operation = answer.json
    assert answer.headers["Location"] == f"/dlq/operations/{operation['operationId']}"
    assert (operation["state"], operation["requestedBy"]) == ("running", "the operator")
    assert operation["filter"] == {"tool": "settle"}
    assert operation["progress"]["pending"] == 2
    # when a dispatcher has looked
    look(world)
    told = operator.get(f"/dlq/operations/{operation['operationId']}").json
    assert (told["progress"]["pending"], told["progress"]["sent"]) == (0, 2)
    assert told["progress"]["sentPerSecond"] == 0.2
    assert [state_of(operator, letter) for _, letter in pairs] == ["redriving", "redriving", "pending"]
    event = operator.timeline(pairs[0][0])[-1]
    assert event["data"]["operationId"] == operation["operationId"]
    # and one of them rests, the other dies again
    world.rest(tenant, pairs[0][0], "RESOLVED")
    dies(world, tenant, pairs[1][0])
    look(world)
    told = operator.get(f"/dlq/operations/{operation['operationId']}").json
    # then it is finished and says what came of it
    assert told["state"] == "finished"
    assert (told["progress"]["succeeded"], told["progress"]["failedAgain"]) == (1, 1)
    assert {(one["state"], one["count"]) for one in told["outcomes"]} == {("succeeded", 1), ("failed", 1)}
    assert told["failed"][0]["deadLetterId"] == pairs[1][1]
    assert [entry["action"] for entry in told["history"]] == ["started", "finished"]
    assert state_of(operator, pairs[0][1]) == "succeeded"
    refused(operator.post(f"/dlq/operations/{operation['operationId']}/stop", WHY), 409, "conflict")


def test_an_operation_under_a_key_is_begun_once(operator: Caller, dead: Dead) -> None:
    dead()
    key, body = uuid4().hex, {**WHY, "filter": {"all": True}}
    first = operator.post("/dlq/redrive", body, Idempotency_Key=key)
    again = operator.post("/dlq/redrive", body, Idempotency_Key=key)
    assert (again.status_code, again.json["operationId"]) == (202, first.json["operationId"])
    refused(operator.post("/dlq/redrive", {**body, "canary": 3}, Idempotency_Key=key), 422, "key-reused")
    refused(operator.post("/dlq/discard", body, Idempotency_Key=key), 422, "key-reused")
    assert len(operator.get("/dlq/operations").json["items"]) == 1


def test_an_operation_is_stopped_and_resumed_for_a_reason(world: World, operator: Caller, dead: Dead) -> None:
    _, letter = dead()
    begun = operator.post("/dlq/redrive", {**WHY, "filter": {"all": True}, "ratePerSecond": 100})
    path = f"/dlq/operations/{begun.json['operationId']}"
    stopped = operator.post(f"{path}/stop", {"reason": "the tool is slow"})
    assert (stopped.status_code, stopped.json["state"]) == (202, "stopped")
    assert stopped.json["stateReason"] == "stopped by the operator: the tool is slow"
    assert operator.post(f"{path}/stop", {"reason": "again"}).json["state"] == "stopped"
    look(world)
    assert state_of(operator, letter) == "pending"
    assert operator.post(f"{path}/resume", {"reason": "fine"}).json["state"] == "running"
    assert [entry["action"] for entry in operator.get(path).json["history"]] == ["started", "stopped", "resumed"]


def test_operations_have_pages_and_belong_to_their_tenant(world: World, operator: Caller) -> None:
    body = {**WHY, "filter": {"all": True}}
    begun = [operator.post("/dlq/redrive", body).json["operationId"] for _ in range(3)]
    page = operator.get("/dlq/operations?limit=2").json
    rest = operator.get(f"/dlq/operations?limit=2&cursor={page['nextCursor']}").json
    assert [one["operationId"] for one in page["items"] + rest["items"]] == begun[::-1]
    assert rest["nextCursor"] is None
    stranger = world.caller(world.tenant(), "operator")
    assert stranger.get("/dlq/operations").json["items"] == []
    refused(stranger.get(f"/dlq/operations/{begun[0]}"), 404, "not-found")
    refused(stranger.post(f"/dlq/operations/{begun[0]}/stop", WHY), 404, "not-found")
    refused(operator.get("/dlq/operations/none"), 404, "not-found")
