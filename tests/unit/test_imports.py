"""Imports point one way. The rules are in pyproject.toml; each is checked on the whole import graph."""

from __future__ import annotations

import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

RULES = [contract["id"] for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]]


@pytest.mark.parametrize("rule", RULES)
def test_no_import_breaks_the_rule(rule: str) -> None:
    # A process of its own: the linter configures logging for everybody.
    command = [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache", "--contract", rule]
    done = subprocess.run(command, cwd=PYPROJECT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
