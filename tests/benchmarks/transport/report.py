"""What a run found: rows gathered from figures, a table with ratios to Redis, and what was asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .values import BACKENDS, TITLES, Figure, Row

_NONE = "-"


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that was asked of the transport, and whether this run shows it."""

    what: str
    found: str
    met: bool | None
    """None when the run did not measure it."""


class Rows:
    """Gathers figures by name, in the order in which they first came."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def add(self, backend: str, figures: Iterable[Figure]) -> None:
        """Take in what one case found on one backend."""
        for figure in figures:
            row = self._rows.setdefault(figure.name, Row(figure.name, figure.unit))
            row.unit = row.unit or figure.unit
            if figure.value is not None:
                row.values.setdefault(backend, []).append(figure.value)
            if figure.note:
                row.notes[backend] = figure.note

    def __iter__(self) -> Any:
        return iter(self._rows.values())

    def named(self, name: str) -> Row:
        """The row of that name; an empty one when nothing was found."""
        return self._rows.get(name, Row(name, ""))


def table(rows: Rows) -> str:
    """The rows as a Markdown table; notes follow, numbered."""
    notes: list[str] = []
    lines = [
        f"| | unit | {TITLES['redis']} | {TITLES['ours']} | times Redis | {TITLES['stock']} | times Redis |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = {backend: _number(row.median(backend)) for backend in BACKENDS}
        for backend in BACKENDS:
            if backend in row.notes:
                note = f"{TITLES[backend]}: {row.notes[backend]}"
                if note not in notes:
                    notes.append(note)
                cells[backend] += f" [{notes.index(note) + 1}]"
        ratios = {backend: _ratio(row.ratio(backend)) for backend in ("ours", "stock")}
        lines.append(
            f"| {row.name} | {row.unit} | {cells['redis']} | {cells['ours']} | {ratios['ours']} "
            f"| {cells['stock']} | {ratios['stock']} |"
        )
    return "\n".join([*lines, "", *(f"[{number}] {note}" for number, note in enumerate(notes, 1))])


def asked(rows: Rows) -> list[Asked]:
    """Compare with the figures the transport was asked for."""
    one_by_one = rows.named("publishes, kombu one by one, confirmed")
    single, batched = one_by_one.median("ours"), rows.named("publishes, kombu in batches of 100").median("ours")
    gain = batched / single if single and batched else None
    return [
        _at_least("no-op tasks, prefork -c 2: 3 times Redis", rows.named("no-op tasks, prefork -c 2").ratio("ours"), 3),
        _at_least("no-op tasks, threads -c 4: 5 times Redis", rows.named("no-op tasks, threads -c 4").ratio("ours"), 5),
        _at_least("confirmed publishes from one thread: 1 times Redis", one_by_one.ratio("ours"), 1),
        _at_least("a batch of 100: 10 times one by one, per message", gain, 10),
        _below("five idle queues, p50 < 10 ms", rows.named("latency p50, prefork, 5 queues").median("ours"), 10),
        _below("five idle queues, p99 < 50 ms", rows.named("latency p99, prefork, 5 queues").median("ours"), 50),
        _below(
            "idle main process < 2 % of a core",
            rows.named("idle CPU, worker's main process, prefork, 5 queues").median("ours"),
            2,
        ),
        _below("countdown late p99 < 100 ms", rows.named("countdown 1-3 s, late p99").median("ours"), 100),
    ]


def asked_text(found: list[Asked]) -> str:
    """One line each."""
    words = {True: "met", False: "NOT met", None: "not measured"}
    return "\n".join(f"{words[one.met]:>12}  {one.what}: {one.found}" for one in found)


def as_json(rows: Rows, machine: dict[str, Any], found: list[Asked]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "machine": machine,
        "figures": [
            {
                "name": row.name,
                "unit": row.unit,
                "median": {backend: row.median(backend) for backend in BACKENDS},
                "ratioToRedis": {backend: row.ratio(backend) for backend in ("ours", "stock")},
                "values": row.values,
                "notes": row.notes,
            }
            for row in rows
        ],
        "asked": [{"what": one.what, "found": one.found, "met": one.met} for one in found],
    }


def _at_least(what: str, value: float | None, bound: float) -> Asked:
    return Asked(what, _number(value), None if value is None else value >= bound)


def _below(what: str, value: float | None, bound: float) -> Asked:
    return Asked(what, _number(value), None if value is None else value < bound)


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"
