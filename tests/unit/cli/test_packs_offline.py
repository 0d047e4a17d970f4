"""`sentinai packs` with files only: what a pack repository's CI runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from service.cli import cli
from service.errors import PermanentError

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "packs"


@pytest.fixture(autouse=True)
def no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SENTINAI_API_URL", "SENTINAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def packs(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["packs", *map(str, arguments)])


def test_a_new_folder_is_valid_without_a_warning_and_its_suite_passes(tmp_path: Path) -> None:
    # given a starter in a folder that was not there
    folder = tmp_path / "hospital"
    made = packs("new", folder, "--domain", "HospitalClaims", "--tenant", "MERCY", "--json")
    domain, tenant = json.loads(made.stdout)["files"]
    # then it is what CI wants
    checked = packs("validate", "--strict", domain, tenant)
    assert checked.exit_code == 0, checked.output
    tested = packs("test", domain, "--with", tenant, "--json")
    assert tested.exit_code == 0, tested.output
    assert [case["passed"] for case in json.loads(tested.stdout)] == [True] * 3
    # and it is not written over
    again = packs("new", folder)
    assert isinstance(again.exception, PermanentError)
    assert "not an empty folder" in str(again.exception)


@pytest.mark.parametrize("name", ["../up", "two words", "", "9lives"])
def test_a_domain_needs_a_plain_name(tmp_path: Path, name: str) -> None:
    assert packs("new", tmp_path / "x", "--domain", name).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    # given two faults in one file and an unreadable other one
    bad, broken = tmp_path / "bad.domain.yaml", tmp_path / "broken.domain.yaml"
    bad.write_text(
        "domainName: Bad\nseverityRules:\n- condition: a ==\n  severity: LOW\n- {severity: AWFUL}\n", "utf-8"
    )
    broken.write_text("domainName: [\n", "utf-8")
    # when both are checked
    result = packs("validate", bad, broken)
    # then each fault has file and line
    assert result.exit_code == 1
    assert f"{bad}:3: severityRules[0].condition:" in result.output
    assert f"{bad}:5: severityRules[1].condition: is required" in result.output
    assert str(broken) in result.output
    told = json.loads(packs("validate", bad, "--json").stdout)
    assert {(one["path"], one["line"]) for one in told[0]["faults"]} >= {("severityRules[0].condition", 3)}


@pytest.mark.parametrize(
    ("domain", "tenant", "failing"),
    [
        ("TradeOperations", "DEMO_TRADING", 0),
        ("ClaimsProcessing", "DEMO_CLAIMS", 0),
        ("CapitalMarketsTrading", "TENANT_FINANCE_001", 1),
    ],
)
def test_every_examples_suite_runs_and_its_failures_are_shown_as_they_are(
    domain: str, tenant: str, failing: int
) -> None:
    given = EXAMPLES / f"{domain}.domain.json"
    for more in ((), ("--with", EXAMPLES / f"{tenant}.tenant.json")):
        result = packs("test", given, *more, "--json")
        cases = json.loads(result.stdout)
        assert sum(not case["passed"] for case in cases) == failing
        assert result.exit_code == (1 if failing else 0)
    if failing:
        (missed,) = [miss for case in cases for miss in case["mismatches"]]
        assert missed["key"] == "severity"


def test_files_are_compared_and_the_exit_code_tells(tmp_path: Path) -> None:
    old = EXAMPLES / "TradeOperations.domain.json"
    document: dict[str, Any] = json.loads(old.read_text("utf-8"))
    name, tool = next(iter(document["tools"].items()))
    tool["timeoutSeconds"] = 99
    new = tmp_path / "new.json"
    new.write_text(json.dumps(document), "utf-8")
    # when they differ
    result = packs("diff", old, new)
    assert result.exit_code == 1
    assert f"~ tool {name} (changed)" in result.stdout
    assert f"~ tools.{name}.timeoutSeconds: " in result.stdout
    # when they do not
    assert packs("diff", old, old).exit_code == 0
    assert json.loads(packs("diff", old, old, "--json").stdout)["same"] is True


def test_what_needs_a_place_says_so() -> None:
    for command in (("activate", "X"), ("rollback", "X"), ("history", "X"), ("show", "X"), ("backtest", "X")):
        result = packs(*command)
        assert result.exit_code == 2, command
        assert "--tenant" in result.output


def test_every_command_has_help_with_examples_and_json() -> None:
    for name in (
        "new",
        "validate",
        "test",
        "diff",
        "load",
        "backtest",
        "activate",
        "rollback",
        "list",
        "show",
        "history",
    ):
        told = packs(name, "--help").output
        assert "Examples:" in told, name
        assert "--json" in told, name
