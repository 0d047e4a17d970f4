"""``make bench-transport``: this transport, Celery on Redis and kombu's confluentkafka, in one run on one machine.

Every case runs in a process of its own with a time limit; what hangs or fails on a backend is shown as that. The
backends take turns within each case, so that whatever else the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.stack_fixture import services as own_services

from . import plan
from .backends import Backend, Services
from .child import MEASURES, run_apart
from .machine import describe
from .report import Rows, as_json, asked, asked_text, table
from .values import BACKENDS, TITLES, Case, Figure

_NEEDED = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL")


def main() -> None:
    """Measure, and print the table."""
    options = _options()
    cases = [case for case in (plan.quick() if options.quick else plan.full()) if options.only in (None, case.measure)]
    with _services() as services:
        machine, rows, begun = describe(services), Rows(), time.monotonic()
        for number, case in enumerate(cases, 1):
            _run(case, services, rows, f"[{number}/{len(cases)}]", options.backend, begun + options.minutes * 60)
    found = asked(rows)
    machine["loadAfter"] = [round(load, 2) for load in os.getloadavg()]
    machine["minutes"] = round((time.monotonic() - begun) / 60, 1)
    if options.json:
        Path(options.json).write_text(json.dumps(as_json(rows, machine, found), indent=2) + "\n")
    print(table(rows))
    print(f"\n{asked_text(found)}\n\n{json.dumps(machine)}")


def _run(case: Case, services: Services, rows: Rows, place: str, only: list[str], deadline: float) -> None:
    backends = [name for name in case.backends if not only or name in only]
    for turn in range(case.rounds):
        order = backends[turn % len(backends) :] + backends[: turn % len(backends)] if backends else []
        for name in order:
            _say(f"{place} {case.title}, round {turn + 1}/{case.rounds}: {TITLES[name]} …")
            begun = time.monotonic()
            if begun > deadline:
                figures = [Figure(case.leads, "", None, "left out: the run's time was over")]
            else:
                figures = run_apart(case, Backend(name, services, f"bench-{uuid.uuid4().hex[:8]}."))
            rows.add(name, figures)
            first = figures[0]
            shown = f"{first.value:,.4g} {first.unit}" if first.value is not None else ""
            _say(f" {first.name}: {shown} {first.note} ({time.monotonic() - begun:.1f} s)\n")


@contextmanager
def _services() -> Iterator[Services]:
    """The services that the environment names, else a stack of the run's own."""
    if all(os.environ.get(name) for name in _NEEDED):
        yield Services(os.environ["KAFKA_BOOTSTRAP_SERVERS"], os.environ["REDIS_URL"])
        return
    with own_services(f"test-{os.getpid()}") as instance:
        environment = instance.environment()
        yield Services(environment["KAFKA_BOOTSTRAP_SERVERS"], environment["REDIS_URL"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.transport", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer messages and one round: under four minutes")
    parser.add_argument("--only", choices=sorted(MEASURES), help="one kind of measurement")
    parser.add_argument("--backend", action="append", choices=BACKENDS, default=[], help="only this one; repeatable")
    parser.add_argument("--json", metavar="FILE", help="write everything to a file as well")
    parser.add_argument("--minutes", type=float, default=15, help="after so many, what is left is left out (15)")
    return parser.parse_args()


def _say(words: str) -> None:
    sys.stderr.write(words)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
