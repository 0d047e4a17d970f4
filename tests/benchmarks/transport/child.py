"""Runs one case in a process of its own, so that whatever hangs can be ended with everything it started."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any

from .backends import Backend, Services
from .consuming import consume, partitions, workers
from .latency import latency
from .memory import memory
from .place import PROJECT
from .publishing import publish
from .values import Case, Figure

MEASURES: Mapping[str, Callable[..., list[Figure]]] = {
    "consume": consume,
    "publish": publish,
    "latency": latency,
    "memory": memory,
    "workers": workers,
    "partitions": partitions,
}
_MARK = "figures: "
_LAST_WORDS = 300


def run_apart(case: Case, backend: Backend) -> list[Figure]:
    """Measure in a child process; a figure without a value says why there is none. Never raises for the child."""
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        return _run_in(scratch, case, backend)


def _run_in(scratch: str, case: Case, backend: Backend) -> list[Figure]:
    order = json.dumps([case.measure, dict(case.arguments), backend.name, asdict(backend.services), backend.prefix])
    command = [sys.executable, "-m", "tests.benchmarks.transport.child", order]
    pipe = subprocess.PIPE
    # A child that is killed cannot remove its files, so they lie in a folder of ours.
    environment = {**os.environ, "TMPDIR": scratch}
    child = subprocess.Popen(
        command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    try:
        output, errors = child.communicate(timeout=case.limit)
    except subprocess.TimeoutExpired:
        return _failed(case, f"hangs: no end within {case.limit:g} s")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(10)
        if child.returncode != 0:
            backend.remove()
    for line in output.splitlines():
        if line.startswith(_MARK):
            return [Figure(**found) for found in json.loads(line[len(_MARK) :])]
    return _failed(case, f"fails: {errors.strip().splitlines()[-1][:_LAST_WORDS] if errors.strip() else 'no word'}")


def _failed(case: Case, reason: str) -> list[Figure]:
    return [Figure(case.leads or case.title, "", None, reason)]


def main(order: str) -> None:
    """Run the case and print its figures."""
    logging.disable(logging.WARNING)
    measure, arguments, name, services, prefix = json.loads(order)
    extra: dict[str, Any] = {"partitions": arguments["count"]} if measure == "partitions" else {}
    figures = MEASURES[measure](Backend(name, Services(**services), prefix, **extra), **arguments)
    print(_MARK + json.dumps([asdict(figure) for figure in figures]), flush=True)
    # The interpreter's end would wait for what the stock transport leaves open.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
