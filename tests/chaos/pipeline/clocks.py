"""Clocks of single Python processes, which can be set while they run, told by a file for each process.

Not by libfaketime: under it, a step of ten minutes kept a flush of librdkafka, which was to wait one second, beyond the
test's limit of two minutes, and `time.sleep` fails when what counts seconds is to be left alone. A real clock that is
set does neither.
"""

from __future__ import annotations

from pathlib import Path

from service.devstack.instance import Instance

SEEN_SECONDS = 0.5
"""How long a step may take to be seen."""
_OWN_CLOCK = Path(__file__).resolve().parent / "own_clock"


def environment(instance: Instance, process: str) -> dict[str, str]:
    """What gives an application process, and its children, a clock of its own that is right at first."""
    step(instance, process, 0)
    return {"PYTHONPATH": str(_OWN_CLOCK), "CHAOS_CLOCK_FILE": str(_file(instance, process))}


def step(instance: Instance, process: str, seconds: int) -> None:
    """Let a process's clock differ from the machine's by so much."""
    file = _file(instance, process)
    temporary = file.with_suffix(".new")
    temporary.write_text(f"{seconds:+d}\n")
    temporary.replace(file)


def _file(instance: Instance, process: str) -> Path:
    return instance.conf / f"{process}.clock"
