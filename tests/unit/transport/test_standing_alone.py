"""The transport is a library: it takes nothing from the project around it."""

from __future__ import annotations

import ast
from pathlib import Path

import service.transport

PACKAGE = Path(service.transport.__file__).parent


def imported_by(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{module.name} reaches out of the package"
            if node.level == 0 and node.module:
                found.add(node.module)
    return found


def test_it_imports_nothing_of_the_project() -> None:
    for module in PACKAGE.rglob("*.py"):
        foreign = {name for name in imported_by(module) if name.split(".")[0] in {"service", "tasks", "tests"}}
        assert not foreign, f"{module.name} imports {sorted(foreign)}"


def test_it_needs_kombu_and_the_kafka_client_only_not_celery() -> None:
    import sys

    outside = {name.split(".")[0] for module in PACKAGE.rglob("*.py") for name in imported_by(module)}
    assert outside - sys.stdlib_module_names <= {"kombu", "amqp", "confluent_kafka"}


def test_no_module_is_longer_than_a_reader_likes() -> None:
    assert not [module.name for module in PACKAGE.rglob("*.py") if len(module.read_text().splitlines()) > 300]
