"""Takes one guard out, in a copy of the tree, and runs the tests that must notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from tests.mutations.mutation import Mutation

PROJECT = Path(__file__).resolve().parents[2]

_LEFT_OUT = (".git", ".venv", ".stack", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


class Verdict(Enum):
    """What became of a mutation. Pytest's exit codes beyond 1 say that no test was run to its end."""

    NOTICED = "noticed"
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"


def take_out(mutation: Mutation, tree: Path, services: Mapping[str, str]) -> tuple[Verdict, str]:
    """What the tests say of a tree without the guard, and pytest's output. `services`: the variables that name them."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(PROJECT, tree, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    file = tree / mutation.file
    text = file.read_text("utf-8")
    found = text.count(mutation.old)
    assert found == 1, f"{mutation.file} says {mutation.old!r} {found} times; correct the list"
    file.write_text(text.replace(mutation.old, mutation.new), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.tests]
    inherited = {name: value for name, value in os.environ.items() if name not in services}
    given = {} if mutation.needs_own_services else services
    environment = {**inherited, **given, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    verdict = {0: Verdict.SURVIVED, 1: Verdict.NOTICED}.get(done.returncode, Verdict.NOT_RUN)
    return verdict, done.stdout + done.stderr
