"""The transport is a library: it takes nothing from the project around it."""

from __future__ import annotations

import ast
from pathlib import Path

import service.transport

PACKAGE = Path(service.transport.__file__).parent
EXTRAS = {"operations": {"click", "celery"}, "flower": {"flower", "tornado"}, "stopping.py": {"celery"}}


def imported_by(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= len(module.relative_to(PACKAGE).parts), f"{module.name} reaches out of the package"
            if node.level == 0 and node.module:
                found.add(node.module)
    return found


def test_it_imports_nothing_of_the_project() -> None:
    for module in PACKAGE.rglob("*.py"):
        foreign = {name for name in imported_by(module) if name.split(".")[0] in {"service", "tasks", "tests"}}
        assert not foreign, f"{module.name} imports {sorted(foreign)}"


def test_it_needs_kombu_and_the_kafka_client_only_not_celery() -> None:
    import sys

    needed = {"kombu", "amqp", "confluent_kafka"}
    for module in PACKAGE.rglob("*.py"):
        # The command line and the Flower plug-in are loaded by those who use them.
        extra = next((names for start, names in EXTRAS.items() if module.is_relative_to(PACKAGE / start)), set())
        outside = {name.split(".")[0] for name in imported_by(module)} - sys.stdlib_module_names
        assert outside <= needed | extra, f"{module.name} imports {sorted(outside - needed - extra)}"


def test_no_module_is_longer_than_a_reader_likes() -> None:
    assert not [module.name for module in PACKAGE.rglob("*.py") if len(module.read_text().splitlines()) > 300]
