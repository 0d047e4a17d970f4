"""Clocks of single processes, which can be set while they run: libfaketime, told by a file for each process."""

from __future__ import annotations

from pathlib import Path

from service.devstack.instance import Instance
from tests.chaos.pipeline.needs import faketime


def environment(instance: Instance, process: str) -> dict[str, str]:
    """What gives an application process, and its children, a clock of its own that is right at first."""
    step(instance, process, 0)
    return {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(_file(instance, process)),
        # How long a step may take to be seen; without any, each look at the clock would read the file.
        "FAKETIME_CACHE_DURATION": "1",
        # What counts seconds goes on counting: a step changes what time it is, not how fast it passes.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def step(instance: Instance, process: str, seconds: int) -> None:
    """Let a process's clock differ from the machine's by so much."""
    file = _file(instance, process)
    temporary = file.with_suffix(".new")
    temporary.write_text(f"{seconds:+d}\n")
    temporary.replace(file)


def _file(instance: Instance, process: str) -> Path:
    return instance.conf / f"{process}.clock"
