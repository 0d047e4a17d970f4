"""Imports point one way. The rules are in pyproject.toml; each is checked on the whole import graph."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from importlinter import cli

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

RULES = [contract["id"] for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]]


@pytest.mark.parametrize("rule", RULES)
def test_no_import_breaks_the_rule(rule: str) -> None:
    assert cli.lint_imports(config_filename=str(PYPROJECT), limit_to_contracts=(rule,), no_cache=True) == 0
