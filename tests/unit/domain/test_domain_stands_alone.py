"""The domain decides and does nothing else: it imports no other part of the project, no clock and no I/O."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROJECT = Path(__file__).parents[3]
_MODULES = sorted((_PROJECT / "service" / "domain").rglob("*.py"))
_MAY_IMPORT = ("service.domain.", "service.errors.")
_WORLD = {"os", "io", "pathlib", "socket", "time", "random", "secrets", "subprocess", "threading", "asyncio", "logging"}
_CLOCKS = {"now", "utcnow", "today", "uuid1", "uuid4"}


def _imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where a name comes from"
            yield node.module or ""


def test_there_is_a_domain_to_look_at() -> None:
    assert len(_MODULES) > 20


@pytest.mark.parametrize("module", _MODULES, ids=lambda path: str(path.relative_to(_PROJECT)))
def test_a_domain_module_imports_only_the_domain_and_the_errors(module: Path) -> None:
    ours = {name for name in _imports(module) if name.split(".")[0] in ("service", "tasks", "tests")}
    assert not {name for name in ours if not f"{name}.".startswith(_MAY_IMPORT)}


@pytest.mark.parametrize("module", _MODULES, ids=lambda path: str(path.relative_to(_PROJECT)))
def test_a_domain_module_touches_neither_the_world_nor_a_clock(module: Path) -> None:
    assert not {name.split(".")[0] for name in _imports(module)} & _WORLD
    calls = [node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    assert not {called.attr for called in calls if isinstance(called, ast.Attribute)} & _CLOCKS
