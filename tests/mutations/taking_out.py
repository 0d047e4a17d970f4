"""Takes one guard out, in a copy of the tree, and runs the tests that must notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from tests.mutations.mutation import ChaosRound, Mutation

PROJECT = Path(__file__).resolve().parents[2]

_ENDING_SECONDS = 120

_LEFT_OUT = (".git", ".venv", ".stack", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")


class Verdict(Enum):
    """What became of a mutation. Exit codes beyond 1 say that no test or round was run to its end."""

    NOTICED = "noticed"
    ELSEWHERE = "NOTICED ELSEWHERE"
    """A round turned red, but not for the invariants it should have."""
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"


def take_out(mutation: Mutation, tree: Path, services: Mapping[str, str]) -> tuple[Verdict, str]:
    """What the tests say of a tree without the guard, and pytest's output. `services`: the variables that name them."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(PROJECT, tree, ignore=shutil.ignore_patterns(*_LEFT_OUT))
    for change in mutation.changes:
        file = tree / change.file
        text = file.read_text("utf-8")
        found = text.count(change.old)
        assert found == 1, f"{change.file} says {change.old!r} {found} times; correct the list"
        file.write_text(text.replace(change.old, change.new), "utf-8")
    command = _round(mutation.round) if mutation.round else _tests(mutation.tests)
    inherited = {name: value for name, value in os.environ.items() if name not in services}
    given = {} if mutation.needs_own_services else services
    environment = {**inherited, **given, "PYTHONPATH": str(tree)}
    code, said = _carried_out(command, tree, environment)
    verdict = {0: Verdict.SURVIVED, 1: Verdict.NOTICED}.get(code, Verdict.NOT_RUN)
    if verdict is Verdict.NOTICED and mutation.round and not mutation.round.noticed(said):
        verdict = Verdict.ELSEWHERE
    return verdict, said


def _carried_out(command: list[str], tree: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a command and all that it said. Interrupted, it is given time to end what it started."""
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            said, _ = process.communicate()
        except BaseException:
            process.terminate()
            process.communicate(timeout=_ENDING_SECONDS)
            raise
    return process.returncode, said


def _tests(tests: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]


def _round(wanted: ChaosRound) -> list[str]:
    which = ["--faults", wanted.faults] if wanted.faults else ["--calm"]
    command = [sys.executable, "-m", "tests.chaos.pipeline", "run", "--profile", "small", *which]
    command += ["--exceptions", str(wanted.exceptions), "--seconds", str(wanted.seconds)]
    return [*command, "--seed", str(wanted.seed), "--patience", str(wanted.patience)]
