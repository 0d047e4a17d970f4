"""How fast work flows again, and what is run twice, when a consumer process dies, restarts, comes, goes, or hangs.

``python -m tests.benchmarks.transport.recovery [--json FILE] [--only CASE]`` prints the table of
docs/transport-recovery.md. It uses KAFKA_BOOTSTRAP_SERVERS; see ``sentinai stack env``. Two processes share a queue of
eight partitions to which fifty messages a second are published; each is worked for 10 ms. What counts is the longest
time any message waited for its first run, the start of a process included.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.integration.transport.conftest import new_corner
from tests.integration.transport.slots import Flow, Slots, flowing

_SETTLE = 3.0
_PATIENCE = 90.0
_STILL = 10.0
PARTITIONS = 8


@dataclass(frozen=True)
class Setup:
    """How the processes join their group."""

    name: str
    static: bool
    options: dict[str, Any]


SETUPS = (
    Setup("classic", False, {}),
    Setup("classic, instance_id", True, {}),
    Setup("KIP-848", False, {"consumer_config": {"group.protocol": "consumer"}}),
)


@dataclass(frozen=True)
class Outcome:
    """What one case did to the work."""

    case: str
    setup: str
    longest_wait: float
    run_twice: int
    messages: int
    lost: int


def kill(slots: Slots) -> None:
    """One of two processes is killed and does not come back."""
    slots.signal("two", signal.SIGKILL)


def restart(slots: Slots) -> None:
    """One of two processes is killed and started again at once."""
    slots.signal("two", signal.SIGKILL)
    slots.start("two")


def scale_out(slots: Slots) -> None:
    """A third process joins."""
    slots.start("three")


def scale_in(slots: Slots) -> None:
    """One of two processes is told to stop."""
    slots.signal("two", signal.SIGTERM)


def stand_still(slots: Slots) -> None:
    """One of two processes stands still for ten seconds, then goes on."""
    slots.signal("two", signal.SIGSTOP)
    time.sleep(_STILL)
    slots.signal("two", signal.SIGCONT)


CASES: dict[str, Callable[[Slots], None]] = {
    "kill -9": kill,
    "restart in place": restart,
    "scale out": scale_out,
    "scale in": scale_in,
    "SIGSTOP 10 s, SIGCONT": stand_still,
}


def main() -> None:
    """Measure every case with every setup, print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument("--only", choices=CASES, help="measure one case")
    chosen = parser.parse_args()
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not servers:
        parser.error("KAFKA_BOOTSTRAP_SERVERS is not set: `sentinai stack up --services-only` and `stack env` give one")
    outcomes = []
    for case in [chosen.only] if chosen.only else CASES:
        for setup in SETUPS:
            print(f"{case}, {setup.name} …", end=" ", file=sys.stderr, flush=True)
            outcomes.append(measure(servers, case, setup))
            print(f"{outcomes[-1].longest_wait:.1f} s", file=sys.stderr)
    print(table(outcomes))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2))


def measure(servers: str, case: str, setup: Setup) -> Outcome:
    """Run one case in a corner of its own."""
    corner = new_corner(servers, partitions=PARTITIONS, **setup.options)
    with tempfile.TemporaryDirectory() as folder, flowing(corner) as flow:
        slots = Slots(corner, Path(folder), setup.static)
        try:
            for name in ("one", "two"):
                slots.start(name)
            _wait(lambda: slots.shares() == [PARTITIONS // 2] * 2, "two processes to share the queue")
            time.sleep(_SETTLE)
            began = time.time()
            CASES[case](slots)
            return _outcome(case, setup, slots, flow, began)
        finally:
            slots.close()
            corner.remove()


def _outcome(case: str, setup: Setup, slots: Slots, flow: Flow, began: float) -> Outcome:
    time.sleep(_SETTLE)
    _wait(lambda: not _missing(slots, flow, time.time() - 1), "work to flow again")
    time.sleep(_SETTLE)
    count = flow.stop()
    _wait(lambda: len(slots.worked()) >= count, "everything to be worked")
    first: dict[int, float] = {}
    for entry in slots.entries():
        first.setdefault(entry["number"], entry["at"])
    waits = [first[n] - sent for n, sent in enumerate(flow.sent_at) if n in first and first[n] > began]
    twice = sum(times - 1 for times in slots.worked().values())
    return Outcome(case, setup.name, max(waits), twice, count, count - len(first))


def _missing(slots: Slots, flow: Flow, before: float) -> list[int]:
    worked = slots.worked()
    return [number for number, sent in enumerate(list(flow.sent_at)) if sent < before and number not in worked]


def _wait(found: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not found():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {_PATIENCE:g} s for {what}")
        time.sleep(0.1)


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    names = list(dict.fromkeys(outcome.setup for outcome in outcomes))
    lines = [" | ".join(["", "case", *names, ""]).strip(), "|" + " --- |" * (len(names) + 1)]
    for case in dict.fromkeys(outcome.case for outcome in outcomes):
        cells = [f"{o.longest_wait:.1f} s · {o.run_twice}" for o in outcomes if o.case == case]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
