"""`sentinai packs …` on a tenant: on the database and through the API, with the same answers and exit codes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from werkzeug.serving import make_server

from service.cli import cli
from service.settings import Settings
from tests.integration.packs.desk import Desk, domain, severity

pytestmark = pytest.mark.stack

Sentinai = Callable[..., Result]


@pytest.fixture(scope="module")
def api_url(app: Flask) -> Iterator[str]:
    """The API on a port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["database", "api"])
def sentinai(
    request: pytest.FixtureRequest, desk: Desk, migrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> Sentinai:
    """Runs `sentinai packs …` on the desk's tenant."""
    monkeypatch.setenv("DATABASE_URL", migrated.database_url)
    monkeypatch.delenv("SENTINAI_API_URL", raising=False)
    if request.param == "database":
        where = ["--tenant", desk.tenant_id]
    else:
        where = ["--url", request.getfixturevalue("api_url"), "--key", desk.keys["admin"]]

    def run(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["packs", command, *where, *arguments])

    return run


def told(result: Result) -> Any:
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def files(folder: Path, desk: Desk, **keys: Any) -> tuple[str, str]:
    """A domain pack with these keys and a tenant pack."""
    one, other = folder / "d.domain.json", folder / "t.tenant.json"
    one.write_text(json.dumps(domain(**keys)), "utf-8")
    other.write_text(json.dumps({"tenantId": desk.tenant_id, "domainName": "Deliveries"}), "utf-8")
    return str(one), str(other)


def test_a_pack_goes_from_a_file_to_deciding_and_back(sentinai: Sentinai, desk: Desk, tmp_path: Path) -> None:
    # given packs loaded from files
    loaded = told(sentinai("load", *files(tmp_path, desk), "--comment", "first", "--json"))
    assert [(one["version"], one["new"], one["active"]) for one in loaded] == [(1, True, True), (1, True, True)]
    # when a change is compared, kept as a draft, and scheduled
    changed, _ = files(tmp_path, desk, **severity("HIGH"))
    compared = sentinai("diff", changed, "--json")
    assert compared.exit_code == 1
    assert [one["kind"] for one in json.loads(compared.stdout)["parts"]] == ["changed"]
    draft = told(sentinai("load", changed, "--no-activate", "--json"))
    assert (draft[0]["version"], draft[0]["active"]) == (2, False)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    scheduled = told(sentinai("activate", "Deliveries", "--at", later, "--json"))
    assert (scheduled["state"], scheduled["activeVersion"]) == ("scheduled", 1)
    assert told(sentinai("rollback", "Deliveries", "--scheduled", "--json"))["withdrawn"] == [2]
    # and activated
    assert "version 2 decides now" in sentinai("activate", "Deliveries", "--comment", "go").stdout
    exception_id = desk.receive()
    desk.decide(exception_id)
    assert desk.row(exception_id).severity == "HIGH"
    # then it goes back with one call, and everything is on record
    assert told(sentinai("rollback", "Deliveries", "--json"))["activeVersion"] == 1
    history = told(sentinai("history", "Deliveries", "--json"))
    assert [one["action"] for one in history] == ["rollback", "activate", "withdraw", "activate", "activate"]
    assert (history[-1]["comment"], history[1]["comment"]) == ("first", "go")
    assert told(sentinai("show", "Deliveries", "--version", "2", "--json"))["state"] == "retired"
    states = {(one["name"], one["version"]): one["state"] for one in told(sentinai("list", "--json"))}
    assert states == {("Deliveries", 1): "active", ("Deliveries", 2): "retired", ("tenant", 1): "active"}


def test_a_version_whose_tests_fail_is_refused_and_told(sentinai: Sentinai, desk: Desk, tmp_path: Path) -> None:
    # given a pack whose suite expects what it does not say
    case = {"name": "hope", "input": {"exceptionType": "LATE"}, "expectedOutput": {"severity": "CRITICAL"}}
    given = files(tmp_path, desk, testSuites=[case])
    # when it is loaded
    refused = sentinai("load", *given)
    # then nothing is in force, but the drafts are there and can be tested
    assert refused.exit_code == 1
    assert "fail" in str(refused.exception)
    assert {one["state"] for one in told(sentinai("list", "--json"))} == {"draft"}
    tested = sentinai("test", "Deliveries")
    assert tested.exit_code == 1
    assert "expected 'CRITICAL', the pack says 'LOW'" in tested.stdout
    # and a reason makes it so
    forced = told(sentinai("load", *given, "--force", "T-17", "--json"))
    assert all(one["active"] for one in forced)
    assert told(sentinai("history", "Deliveries", "--json"))[0]["forced"] == "T-17"


def test_a_backtest_of_a_file_tells_what_would_change(sentinai: Sentinai, desk: Desk, tmp_path: Path) -> None:
    # given decided exceptions
    given = files(tmp_path, desk)
    assert sentinai("load", *given).exit_code == 0
    ids = desk.receive_many([{"id": "P-1", "customer": "Ada Lovelace"}, {"id": "P-2"}])
    desk.decide(*ids)
    # when a change is backtested
    changed, _ = files(tmp_path, desk, **severity("HIGH"))
    report = told(sentinai("backtest", changed, "--json"))
    # then it says so, and stored nothing but a draft
    assert (report["decided"], report["changed"]) == (2, 2)
    assert report["severities"] == {"LOW": {"HIGH": 2}}
    assert sentinai("backtest", changed, "--fail-on-change").exit_code == 1
    assert "LOW       HIGH 2" in sentinai("backtest", "Deliveries").stdout
    assert told(sentinai("show", "Deliveries", "--json"))["state"] == "draft"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("activate", "Nothing"), 1),
        (("rollback", "tenant"), 1),
        (("show", "Nothing"), 1),
        (("activate",), 2),
        (("diff", "nothing-there"), 2),
    ],
)
def test_exit_codes_tell_what_is_wrong(sentinai: Sentinai, arguments: tuple[str, ...], code: int) -> None:
    assert sentinai(*arguments).exit_code == code


def test_a_place_that_does_not_answer_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.delenv("SENTINAI_API_URL", raising=False)
    run = CliRunner().invoke
    for where in (("--tenant", "ACME"), ("--url", "http://127.0.0.1:1", "--key", "snt_x")):
        result = run(cli, ["packs", "list", *where])
        assert result.exit_code == 3, (result.output, result.exception)
    assert run(cli, ["packs", "activate", "X"]).exit_code == 2
