"""A tenant's own kill switches over HTTP, and the platform's on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from service.cli import cli
from service.domain.exceptions import Stage
from service.persistence import pauses
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.integration.api.world import Caller, Tenant, World, refused

pytestmark = pytest.mark.stack

Sentinai = Callable[..., Result]
REASON = "their ERP sends everything twice"


@pytest.fixture
def sentinai(migrated: Settings, monkeypatch: pytest.MonkeyPatch) -> Sentinai:
    monkeypatch.setenv("DATABASE_URL", migrated.database_url)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


@pytest.fixture(autouse=True)
def nothing_stays_paused(world: World) -> Iterator[None]:
    yield
    with unit_of_work(world.system) as transaction:
        for pause in pauses.in_force(transaction).pauses:
            pauses.resume(transaction, pause.pause_id, "test", None)


def in_the_future(**length: float) -> str:
    return (datetime.now(UTC) + timedelta(**length)).isoformat()


def own(caller: Caller, query: str = "") -> list[dict[str, Any]]:
    """The tenant's own pauses; those for everybody, of which other tests had some, left out."""
    return [pause for pause in caller.get(f"/pauses{query}").json["items"] if pause["tenantId"] is not None]


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_tenant_pauses_itself_and_its_exceptions_say_why_they_wait(world: World, tenant: Tenant) -> None:
    # given a tenant with an exception under way
    operator = world.caller(tenant, "operator")
    waiting = operator.accepted()
    assert operator.get(f"/exceptions/{waiting}").json["heldBecause"] is None
    # when its operator pauses everything until a time
    until = in_the_future(hours=1)
    made = operator.post("/pauses", {"scope": "tenant", "reason": REASON, "until": until})
    # then it is in force, with who and why
    assert made.status_code == 201, made.text
    pause = made.json
    assert (pause["pausedBy"], pause["reason"], pause["byPlatform"]) == ("the operator", REASON, False)
    assert own(operator) == [pause]
    # and the exception says so
    held = operator.get(f"/exceptions/{waiting}").json
    assert held["heldBecause"] == f"paused: tenant {tenant.tenant_id}, by the operator: {REASON}"
    assert datetime.fromisoformat(held["heldUntil"]) == datetime.fromisoformat(until)
    # and what comes meanwhile is accepted
    operator.accepted()
    # when it goes on
    ended = operator.post(f"{made.headers['Location']}/resume", {"reason": "mended"})
    # then that is kept with who and why, and nothing is paused any more
    assert ended.status_code == 200, ended.text
    assert (ended.json["resumedBy"], ended.json["resumeReason"]) == ("the operator", "mended")
    assert own(operator) == []
    assert own(operator, "?history=true") == [ended.json]
    assert operator.get(f"/exceptions/{waiting}").json["heldBecause"] is None
    # and it ends once
    refused(operator.post(f"{made.headers['Location']}/resume"), 409, "pause-conflict")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"scope": "stage", "stage": "tool", "reason": "r"}, "scope"),
        ({"scope": "tenant", "reason": " "}, "reason"),
        ({"scope": "tenant"}, "reason"),
        ({"scope": "tool", "reason": "r"}, ""),
        ({"scope": "tenant", "tool": "t", "reason": "r"}, ""),
        ({"scope": "tenant", "reason": "r", "until": "2020-01-01T00:00:00Z"}, "until"),
        ({"scope": "tenant", "reason": "r", "tenantId": "another"}, "tenantId"),
    ],
)
def test_what_is_no_pause_of_the_tenant_s_own_is_refused(caller: Caller, body: dict[str, Any], path: str) -> None:
    problem = refused(caller.post("/pauses", body), 422, "invalid")
    assert path in {fault["path"] for fault in problem["errors"]}
    assert own(caller, "?history=true") == []


def test_an_ingest_key_pauses_nothing(world: World, tenant: Tenant) -> None:
    sender = world.caller(tenant, "ingest")
    refused(sender.post("/pauses", {"scope": "tenant", "reason": REASON}), 403, "forbidden")
    refused(sender.get("/pauses"), 403, "forbidden")


def test_a_tenant_sees_and_ends_no_pause_of_another(world: World, caller: Caller) -> None:
    # given a pause of one tenant
    pause = caller.post("/pauses", {"scope": "tool", "tool": "mail", "reason": REASON}).json
    # when another tenant looks and tries to end it
    stranger = world.caller(world.tenant())
    # then there is no such thing
    assert pause not in stranger.get("/pauses?history=true").json["items"]
    for identifier in (pause["pauseId"], str(uuid4()), "nonsense"):
        refused(stranger.post(f"/pauses/{identifier}/resume"), 404, "not-found")
    assert own(caller) == [pause]


def test_history_comes_in_pages(caller: Caller) -> None:
    made = [caller.post("/pauses", {"scope": "tool", "tool": f"t{n}", "reason": "r"}).json for n in range(5)]
    first = caller.get("/pauses?limit=3").json
    second = caller.get(f"/pauses?limit=3&cursor={first['nextCursor']}").json
    assert first["items"] + second["items"] == made[::-1]
    assert second["nextCursor"] is None
    refused(caller.get("/pauses?limit=1000"), 422, "invalid")


def test_the_platform_pauses_a_tenant_and_the_tenant_cannot_end_it(
    world: World, tenant: Tenant, caller: Caller, sentinai: Sentinai
) -> None:
    # when the platform's people pause a tenant
    pause = told(sentinai("pause", "--tenant", tenant.tenant_id, "--reason", REASON, "--by", "root", "--json"))
    # then the tenant sees that, but not who works there, and cannot end it
    (shown,) = own(caller)
    assert (shown["pauseId"], shown["pausedBy"], shown["byPlatform"]) == (pause["pauseId"], "the platform", True)
    refused(caller.post(f"/pauses/{pause['pauseId']}/resume"), 403, "forbidden")
    # and the platform does, by what it is about
    (ended,) = told(sentinai("resume", "--tenant", tenant.tenant_id, "--by", "root", "--reason", "done", "--json"))
    assert (ended["pauseId"], ended["resumedBy"], ended["resumeReason"]) == (pause["pauseId"], "root", "done")
    assert sentinai("resume", "--tenant", tenant.tenant_id).exit_code == 1


def test_stages_and_tools_of_everybody_are_paused_by_the_platform_only(caller: Caller, sentinai: Sentinai) -> None:
    # given a stage and a tool that are paused for everybody
    waiting = caller.accepted()
    stage = told(sentinai("pause", "--stage", "intake", "--reason", "year end", "--for", "2h", "--json"))
    tool = told(sentinai("pause", "--tool", "mail", "--reason", "wrong template", "--json"))
    # then every tenant sees them and nobody ends them
    assert {p["pauseId"] for p in caller.get("/pauses").json["items"]} >= {stage["pauseId"], tool["pauseId"]}
    refused(caller.post(f"/pauses/{stage['pauseId']}/resume"), 403, "forbidden")
    held = caller.get(f"/exceptions/{waiting}").json
    assert held["heldBecause"] == "paused: stage intake, by the platform: year end"
    assert held["heldUntil"] == stage["until"].replace("+00:00", "Z")
    # and the list shows what is about what
    listed = sentinai("pauses", "list").stdout
    assert "stage intake" in listed and "tool 'mail'" in listed
    assert len(told(sentinai("resume", "--stage", "intake", "--json"))) >= 1
    assert told(sentinai("resume", tool["pauseId"], "--json"))[0]["resumedAt"] is not None
    assert caller.get(f"/exceptions/{waiting}").json["heldBecause"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reason", "r"], "name what to pause"),
        (["--tool", "t", "--stage", "tool", "--reason", "r"], "two pauses"),
        (["--tenant", "T", "--until", "2020-01-01", "--reason", "r"], "is past"),
        (["--tenant", "T", "--for", "soon", "--reason", "r"], "no length of time"),
        (["--tenant", "T", "--for", "1h", "--until", "2999-01-01", "--reason", "r"], "same thing"),
        (["--tenant", "T"], "--reason"),
    ],
)
def test_a_command_that_is_not_clear_is_refused(sentinai: Sentinai, arguments: list[str], says: str) -> None:
    result = sentinai("pause", *arguments)
    assert result.exit_code == 2 and says in result.stderr


def test_a_tenant_that_is_not_there_is_not_paused(sentinai: Sentinai) -> None:
    result = sentinai("pause", "--tenant", "nobody-at-all", "--reason", "r")
    assert "there is no tenant 'nobody-at-all'" in str(result.exception)


def test_the_stages_have_the_names_of_their_queues(sentinai: Sentinai) -> None:
    help_text = sentinai("pause", "--help").stdout
    assert all(stage.queue in help_text for stage in Stage)
