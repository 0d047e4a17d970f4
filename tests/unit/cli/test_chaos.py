"""`sentinai chaos` in a clone hands over to the rounds; elsewhere it says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import service
from service.cli import cli


def test_a_package_without_its_source_tree_says_where_rounds_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an installed package
    monkeypatch.setattr(service, "__file__", str(tmp_path / "site-packages" / "service" / "__init__.py"))
    # when rounds are asked for, then a person learns what to do
    with pytest.raises(Exception, match="clone") as raised:
        cli(["chaos", "run"], standalone_mode=False)
    assert str(tmp_path) in str(raised.value)


def test_the_clone_lists_its_faults_from_any_folder(tmp_path: Path) -> None:
    # when faults are listed from elsewhere
    command = [sys.executable, "-m", "service.cli", "chaos", "faults", "--json"]
    clone = Path(service.__file__).resolve().parents[1]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(clone)}, capture_output=True, text=True, check=True
    )
    # then each has a line that says what it does
    assert json.loads(done.stdout)["kill-worker"].startswith("kill -9")
