"""`sentinai dlq`, as an operator types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from service.cli import cli
from service.engine.failures import ToolUnavailableError
from service.settings import Settings
from tests.integration.api.dying import dies, is_retried
from tests.integration.api.test_command_line import api_url, told
from tests.integration.api.world import Tenant, World, exception

__all__ = ["api_url"]
Dlq = Callable[..., Result]


@pytest.fixture
def dlq(migrated: Settings, monkeypatch: pytest.MonkeyPatch, tenant: Tenant, api_url: str) -> Dlq:
    """Runs `sentinai dlq …` with the tenant's least key."""
    monkeypatch.setenv("DATABASE_URL", migrated.database_url)
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["ingest"]}
    return lambda *arguments: CliRunner().invoke(cli, ["dlq", *arguments], env=access)


def test_a_dead_letter_reads_like_a_story(world: World, tenant: Tenant, dlq: Dlq) -> None:
    # given two dead letters of one cause, one of them tried twice, with an input that waits behind it
    caller = world.caller(tenant)
    error = ToolUnavailableError("tool 'settle' answered 503")
    dies(world, tenant, caller.accepted(), error)
    exception_id = caller.accepted(exception(externalId="SF-1"))
    started = datetime.now(UTC) - timedelta(hours=3)
    is_retried(world, tenant, exception_id, "tool 'settle' answered 503", 1, started)
    letter = dies(world, tenant, exception_id, error, attempts=2, at=started + timedelta(minutes=1))
    caller.post(f"/exceptions/{exception_id}/events", {"type": "comment", "data": {"text": "hm"}})
    # when it is shown
    shown = dlq("show", letter)
    # then a person reads what failed, since when, what was tried, what waits, and what to do
    assert shown.exit_code == 0, shown.output
    for line in (
        f"dead letter {letter}: pending",
        f"exception  {exception_id} (SETTLEMENT_FAIL from ERP, SF-1), input 1",
        "what failed: a call of tool 'settle' at the tool stage, with ToolUnavailable",
        "tool 'settle' answered 503; it is called again by itself",
        "(2 h ago)",
        "tool, attempt 1: ToolUnavailable, tried again at ",
        "tool, attempt 2: ToolUnavailable, given up",
        "behind it: 1 later inputs of this exception wait until it is settled",
        "not alone: 2 pending dead letters have its cause",
        f"send it again:   sentinai dlq redrive {letter}",
        f"POST /exceptions/{exception_id}/payload (role operator, with a reason)",
    ):
        assert line in shown.stdout, shown.stdout
    # and a script gets what the API says
    assert told(dlq("show", letter, "--json")) == caller.get(f"/dlq/{letter}").json
    assert "404" in str(dlq("show", "../ledger").exception)


def test_lists_and_clusters_are_narrowed_as_over_http(world: World, tenant: Tenant, dlq: Dlq) -> None:
    # given failures of two causes
    caller = world.caller(tenant)
    refused = [dies(world, tenant, caller.accepted()) for _ in range(2)]
    away = dies(world, tenant, caller.accepted(), ToolUnavailableError("tool 'ship' answered 503"), tool="ship")
    # then a list has the newest first, and is narrowed
    listed = told(dlq("list", "--json"))
    assert [one["deadLetterId"] for one in listed["items"]] == [away, *reversed(refused)]
    assert refused[0] not in dlq("list", "--tool", "ship", "--stage", "tool").stdout
    assert away in dlq("list", "--error-kind", "transient", "--search", "503").stdout
    assert "no dead letters" in dlq("list", "--state", "discarded").stderr
    assert "there are more: --cursor" in dlq("list", "--limit", "1").stderr
    # and clusters have the largest first
    clusters = told(dlq("clusters", "--json"))["items"]
    assert [(one["tool"], one["count"]) for one in clusters] == [("settle", 2), ("ship", 1)]
    table = dlq("clusters", "--sort", "lastSeen").stdout.splitlines()
    assert "ToolUnavailable" in table[1]
    assert "█" in table[1]
    assert "tenants" not in table[0]
    assert "state[0]" not in dlq("clusters", "--state", "lost").output
    assert dlq("clusters", "--state", "lost").exit_code == 2


def test_an_administrator_sees_which_tenants_a_cluster_concerns(world: World, tenant: Tenant, dlq: Dlq) -> None:
    # given failures of one cause at two tenants
    other = world.tenant()
    dies(world, tenant, world.caller(tenant).accepted())
    for _ in range(2):
        dies(world, other, world.caller(other).accepted())
    signature = told(dlq("list", "--json"))["items"][0]["signature"]
    # then the tenant sees its own
    (own,) = told(dlq("clusters", "--signature", signature, "--json"))["items"]
    assert own["count"] == 1
    assert "tenants" not in own
    # and the administrator sees both
    (cluster,) = told(dlq("clusters", "--all-tenants", "--signature", signature, "--json"))["items"]
    assert cluster["tenants"].items() >= {tenant.tenant_id: 1, other.tenant_id: 2}.items()
    assert cluster["count"] == sum(cluster["tenants"].values())
    table = dlq("clusters", "--all-tenants", "--signature", signature).stdout
    assert f"{other.tenant_id} 2" in table
    wrong = dlq("clusters", "--all-tenants", "--signature", "x")
    assert wrong.exit_code == 2
    assert "signature" in wrong.output


def test_every_command_explains_itself(dlq: Dlq) -> None:
    command = cli.get_command(None, "dlq")  # type: ignore[arg-type]
    for name in getattr(command, "commands", {}):
        output = dlq(name, "--help").output
        assert "Example" in output, name
        assert "--json" in output, name


def test_json_is_one_document(world: World, tenant: Tenant, dlq: Dlq) -> None:
    assert json.loads(dlq("list", "--json").stdout) == {"items": [], "nextCursor": None}
