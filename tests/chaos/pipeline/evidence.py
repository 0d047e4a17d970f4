"""The evidence of a round: everything a person needs to see what broke, and to meet the round again.

A folder with the plan and the verdict (`round.json`), what was answered, the timelines and rows of the exceptions in
question, the dead-letter records, the tool server's log, and the ends of the processes' logs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from service.persistence.unit_of_work import Transaction, unit_of_work
from tests.chaos.pipeline.plan import Scale
from tests.chaos.pipeline.rounds import Outcome
from tests.chaos.pipeline.world import World

_MOST_TIMELINES = 30
_TAIL_BYTES = 200_000
_TABLES = ("inputs", "outbox", "plans", "plan_steps", "tool_executions", "approvals", "dead_letters", "timers")
_HIDDEN = ("sealed_payload", "sealed_data", "document")
"""Payloads are no evidence: what they hold is decided by the plan."""


def keep(outcome: Outcome, world: World, folder: Path, about: Mapping[str, Any]) -> Path:
    """Write the evidence; the folder it is in. `about` is what the run was asked for."""
    home = folder / f"round-{outcome.round.name}"
    home.mkdir(parents=True, exist_ok=True)
    _write(home / "round.json", {**about, **_described(outcome)})
    outcome.seen.answers.write(home / "answered.json")
    _write(home / "calls.json", list(outcome.seen.calls))
    _write(home / "dead-letter-records.json", list(outcome.seen.records))
    suspects = _suspects(outcome)
    with unit_of_work(world.system) as transaction:
        _write(home / "timelines.json", {one: _timeline(transaction, one) for one in suspects})
        _write(home / "rows.json", {one: _rows(transaction, one) for one in suspects})
    keep_logs(world, home / "logs")
    return home


def keep_logs(world: World, into: Path) -> None:
    """The end of each process's log."""
    into.mkdir(parents=True, exist_ok=True)
    for log in sorted(path for path in world.logs.glob("*.log") if path.is_file()):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES), os.SEEK_SET)
            (into / log.name).write_bytes(file.read())


def planned(home: Path) -> dict[str, Any]:
    """What a folder of evidence says of its round: `seed`, `round`, `faults`, `scale`, `profile`."""
    document: dict[str, Any] = json.loads((home / "round.json").read_text("utf-8"))
    return document


def scale_of(document: Mapping[str, Any]) -> Scale:
    """The scale that a round was planned with."""
    return Scale(**document["scale"])


def _described(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.round
    return {
        "seed": plan.seed,
        "round": plan.number,
        "faults": list(plan.faults),
        "strikes": [asdict(strike) for strike in plan.strikes],
        "struck": [asdict(one) for one in outcome.struck],
        "tenants": list(outcome.seen.tenants),
        "quiet": asdict(outcome.seen.quiet),
        "recoveries": [asdict(one) for one in outcome.recoveries],
        "ledgerLooks": outcome.looks,
        "broken": {
            invariant.name: {
                "promise": invariant.value,
                "breaches": [{"what": breach.what, **breach.row} for breach in breaches],
            }
            for invariant, breaches in outcome.verdict.items()
        },
    }


def _suspects(outcome: Outcome) -> list[str]:
    named = [breach.exception_id for breaches in outcome.verdict.values() for breach in breaches]
    return list(dict.fromkeys(one for one in named if one is not None))[:_MOST_TIMELINES]


def _timeline(transaction: Transaction, exception_id: str) -> list[Any]:
    statement = (
        "SELECT position, sequence, stage, attempt, type, occurred_at, data FROM events"
        " WHERE exception_id = %(id)s::uuid ORDER BY position"
    )
    return [row._asdict() for row in transaction.rows(statement, {"id": exception_id})]


def _rows(transaction: Transaction, exception_id: str) -> dict[str, Any]:
    found = {"exceptions": _of(transaction, "SELECT * FROM exceptions WHERE exception_id = %(id)s::uuid", exception_id)}
    for table in _TABLES:
        where = "exception_id = %(id)s::uuid"
        if table == "plan_steps":
            where = "plan_id IN (SELECT plan_id FROM plans WHERE exception_id = %(id)s::uuid)"
        found[table] = _of(transaction, f"SELECT * FROM {table} WHERE {where}", exception_id)
    return found


def _of(transaction: Transaction, statement: str, exception_id: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row._asdict().items() if name not in _HIDDEN}
        for row in transaction.rows(statement, {"id": exception_id})
    ]


def _write(file: Path, document: Mapping[str, Any] | Sequence[Any]) -> None:
    file.write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")
