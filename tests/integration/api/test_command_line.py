"""The administrative commands, as an operator types them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from service.cli import COMMANDS, cli
from service.errors import SentinaiError
from service.settings import Settings
from tests.integration.api.situations import asks_for_approval, by_hand, call, waits_in_plan
from tests.integration.api.world import Tenant, World, exception

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "packs"
Sentinai = Callable[..., Result]


@pytest.fixture
def sentinai(migrated: Settings, monkeypatch: pytest.MonkeyPatch) -> Sentinai:
    """Runs `sentinai …` on the run's database."""
    monkeypatch.setenv("DATABASE_URL", migrated.database_url)

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli, arguments, env=environment)

    return run


@pytest.fixture
def api_url(world: World) -> Iterator[str]:
    """The API on a port."""
    server = make_server("127.0.0.1", 0, world.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


def told(result: Result) -> object:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_tenant_and_its_key_are_made_and_the_key_works_until_it_is_revoked(world: World, sentinai: Sentinai) -> None:
    # given a tenant made on the command line
    tenant_id = f"cli-{uuid4().hex[:8]}"
    assert told(sentinai("tenants", "create", tenant_id, "--name", "Acme", "--json"))["name"] == "Acme"
    # when a key is made for it
    key = told(sentinai("keys", "create", tenant_id, "--role", "ingest", "--json"))
    # then it opens the API
    assert key["apiKey"].startswith("snt_")
    assert len(key["apiKey"]) == 4 + 64
    assert world.client.get("/ledger", headers={"X-API-KEY": key["apiKey"]}).status_code == 200
    # and no list shows it again
    listed = sentinai("keys", "list", "--tenant", tenant_id, "--json")
    assert [one["keyId"] for one in told(listed)] == [key["keyId"]]
    assert key["apiKey"] not in listed.output
    # when it is revoked
    assert told(sentinai("keys", "revoke", key["keyId"], "--json"))["revokedAt"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tenants", "create", "no spaces"), "cannot be a tenant's id"),
        (("keys", "create", "nobody", "--role", "admin"), "no tenant 'nobody'"),
        (("keys", "revoke", "01a205fc-ae0a-74cf-a0b5-232c5ef761ac"), "no API key"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(sentinai: Sentinai, arguments: tuple[str, ...], says: str) -> None:
    result = sentinai(*arguments)
    assert isinstance(result.exception, SentinaiError)
    assert says in str(result.exception)


def test_a_tenant_is_made_once(sentinai: Sentinai, tenant: Tenant) -> None:
    assert "exists already" in str(sentinai("tenants", "create", tenant.tenant_id).exception)


def test_packs_are_loaded_as_versions_and_the_same_content_stays_the_same(
    sentinai: Sentinai, tenant: Tenant, tmp_path: Path
) -> None:
    # given packs of a tenant, one of them in YAML
    domain = EXAMPLES / "TradeOperations.domain.json"
    own = tmp_path / "own.tenant.yaml"
    own.write_text(f"tenantId: {tenant.tenant_id}\ndomainName: TradeOperations\nrateLimitPerSecond: 50\n", "utf-8")
    load = ("packs", "load", "--tenant", tenant.tenant_id, "--json")
    # when they are loaded twice, and then changed
    first = told(sentinai(*load, str(domain), str(own)))
    again = told(sentinai(*load, str(domain), str(own)))
    own.write_text(own.read_text("utf-8").replace("Second: 50", "Second: 60"), "utf-8")
    changed = told(sentinai(*load, str(own)))
    # then only the change is a new version, and the one that is active
    assert [(one["version"], one["new"]) for one in first] == [(1, True), (1, True)]
    assert [(one["version"], one["new"]) for one in again] == [(1, False), (1, False)]
    assert [(one["version"], one["new"]) for one in changed] == [(2, True)]
    listed = told(sentinai("packs", "list", "--tenant", tenant.tenant_id, "--json"))
    active = [(one["kind"], one["version"]) for one in listed if one["active"]]
    assert active == [("domain", 1), ("tenant", 2)]


def test_a_pack_with_faults_is_refused_with_all_of_them_and_nothing_is_stored(
    sentinai: Sentinai, tenant: Tenant, tmp_path: Path
) -> None:
    # given one good and one bad pack
    bad = tmp_path / "bad.domain.json"
    bad.write_text(
        json.dumps(
            {
                "domainName": "Bad",
                "exceptionTypes": {"X": {"description": "x"}},
                "severityRules": [
                    {"condition": "exceptionType ==", "severity": "LOW"},
                    {"condition": "true", "severity": "AWFUL"},
                ],
            }
        ),
        "utf-8",
    )
    # when it is validated
    result = sentinai("packs", "validate", str(bad), "--json")
    # then every fault has its path
    assert result.exit_code == 1
    paths = {fault["path"] for fault in json.loads(result.stdout)[0]["faults"]}
    assert {"severityRules[0].condition", "severityRules[1].severity"} <= paths
    # when both are loaded, then neither is stored
    good = EXAMPLES / "TradeOperations.domain.json"
    failed = sentinai("packs", "load", "--tenant", tenant.tenant_id, str(good), str(bad))
    assert "severityRules[1].severity" in str(failed.exception)
    assert told(sentinai("packs", "list", "--tenant", tenant.tenant_id, "--json")) == []


def test_a_packs_own_tests_are_told_case_by_case(sentinai: Sentinai) -> None:
    result = sentinai("packs", "test", str(EXAMPLES / "CapitalMarketsTrading.domain.json"))
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "1 of 2 cases pass" in result.stdout


def test_the_ledger_fails_when_books_do_not_balance(world: World, tenant: Tenant, sentinai: Sentinai) -> None:
    # given an exception that is where it should be
    caller = world.caller(tenant)
    exception_id = caller.accepted(exception())
    (books,) = told(sentinai("ledger", "--tenant", tenant.tenant_id, "--json"))
    assert (books["accepted"], books["inFlight"], books["balanced"]) == (1, 1, True)
    # when it gets lost
    world.rest(tenant, exception_id, "LOST")
    result = sentinai("ledger", "--tenant", tenant.tenant_id)
    world.rest(tenant, exception_id, "RESOLVED")
    # then a script can tell
    assert result.exit_code == 1


def test_exceptions_are_posted_and_shown(sentinai: Sentinai, tenant: Tenant, api_url: str, tmp_path: Path) -> None:
    # given an exception in a file
    body = tmp_path / "exception.json"
    body.write_text(json.dumps(exception(externalId="SF-1")), "utf-8")
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["ingest"]}
    # when it is posted, twice
    posted = [sentinai("exceptions", "post", str(body), "--idempotency-key", "k-1", **access) for _ in range(2)]
    exception_id = posted[0].stdout.strip()
    # then it is one exception, and can be looked at
    assert posted[1].stdout.strip() == exception_id
    assert exception_id in sentinai("exceptions", "list", **access).stdout
    assert "RECEIVED" in sentinai("exceptions", "get", exception_id, **access).stdout
    types = [one["type"] for one in told(sentinai("exceptions", "events", exception_id, "--json", **access))]
    assert types == ["ExceptionIngested", "DuplicateIgnored"]


def test_what_the_api_refuses_is_told_fault_by_fault(sentinai: Sentinai, tenant: Tenant, api_url: str) -> None:
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["ingest"]}
    failed = CliRunner().invoke(cli, ["exceptions", "post", "-"], input='{"sourceSystem": 5}', env=access)
    assert "sourceSystem: Input should be a valid string" in str(failed.exception)
    assert "rawPayload: is required" in str(failed.exception)
    unknown = sentinai("exceptions", "get", "../ledger", **access)
    assert "404" in str(unknown.exception)
    assert "does not answer" in str(
        sentinai("exceptions", "list", **{**access, "SENTINAI_API_URL": "http://127.0.0.1:1"}).exception
    )
    assert "API key" in str(sentinai("exceptions", "list", SENTINAI_API_URL=api_url, SENTINAI_API_KEY="").exception)


def test_people_decide_on_the_command_line(world: World, sentinai: Sentinai, tenant: Tenant, api_url: str) -> None:
    # given an exception that two people have to approve
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["operator"]}
    exception_id = world.caller(tenant).accepted()
    digest = asks_for_approval(world, tenant, exception_id, call(), needed=2)
    # when one looks at it, then they see what they are asked
    shown = sentinai("exceptions", "get", exception_id, **access).stdout
    assert "waits for approval (0 of 2): severity CRITICAL" in shown
    assert f"plan {digest} of playbook book" in shown
    # when they approve another plan than this, then a script can tell
    approve = ("exceptions", "approve", exception_id, "--comment", "fine")
    assert sentinai(*approve, "--plan-hash", "another", **access).exception.exit_code == 3
    # when they approve this one, then it waits for the other
    assert "PENDING_APPROVAL" in sentinai(*approve, "--plan-hash", digest, **access).stdout
    assert "approved already" in str(sentinai(*approve, **access).exception)
    # when somebody rejects it, then it is told as JSON
    answer = told(sentinai("exceptions", "reject", exception_id, "--comment", "no", "--json", **access))
    assert (answer["status"], answer["sequence"]) == ("IN_PROGRESS", 2)


def test_steps_signals_and_effects_are_told_on_the_command_line(
    world: World, sentinai: Sentinai, tenant: Tenant, api_url: str
) -> None:
    access = {"SENTINAI_API_URL": api_url, "SENTINAI_API_KEY": tenant.keys["operator"]}
    # given a step with a form, a call nobody knows the answer of, and an exception under way
    asked, unknown, under_way = (world.caller(tenant).accepted() for _ in range(3))
    waits_in_plan(world, tenant, asked, by_hand(type="object", required=["amount"]), steps={"1": "done"})
    keys = waits_in_plan(world, tenant, unknown, call(), effects={"1": "unknown"})
    # when the form is answered wrongly, and rightly
    complete = ("exceptions", "complete", asked, "2", "--answer")
    assert "answer.amount: is required" in str(sentinai(*complete, "{}", **access).exception)
    assert "must be JSON" in sentinai(*complete, "{", **access).output
    assert "sequence 2" in sentinai(*complete, '{"amount": 5}', **access).stdout
    # when somebody says what became of the call, with its key from what is shown
    assert f"unknown effect {keys['1']}" in sentinai("exceptions", "get", unknown, **access).stdout
    verdict = ("--verdict", "done", "--comment", "I asked", "--output", '{"entry": 1}')
    assert "sequence 2" in sentinai("exceptions", "resolve-effect", unknown, keys["1"], *verdict, **access).stdout
    # when a signal is sent twice under one key, then it is taken once
    signal = ("exceptions", "signal", under_way, "payment.received", "--idempotency-key", "s-1")
    assert [sentinai(*signal, **access).stdout for _ in range(2)] == ["RECEIVED, sequence 2\n"] * 2


@pytest.mark.parametrize("name", ["tenants", "keys", "packs", "exceptions", "ledger"])
def test_every_command_explains_itself(sentinai: Sentinai, name: str) -> None:
    assert name in COMMANDS
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    inner = getattr(command, "commands", {"": command})
    for sub in inner:
        output = sentinai(name, *([sub] if sub else []), "--help").output
        assert "Examples:" in output, (name, sub)
        assert "--json" in output, (name, sub)
