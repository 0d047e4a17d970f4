"""The report: one JSON document for scripts, and tables for people, of the same values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from service.bench.machine import Machine
from service.bench.processes import Usage
from service.bench.results import Kept, Results, Single, Sustained, problems, warnings
from service.bench.statistics import STEADY_WITHIN, Latency

_NONE = "-"


def as_document(results: Results) -> dict[str, Any]:
    """The whole run as JSON values, keys in camelCase; times in milliseconds unless their name says otherwise."""
    document: dict[str, Any] = _plain(results)
    document["problems"], document["warnings"] = problems(results), warnings(results)
    document["lost"] = sum(kept.lost for _, kept in results.phases)
    return document


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {_camel(field.name): _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def as_text(results: Results) -> str:
    """The same for people."""
    parts = [_heading(results.machine, results.stack)]
    parts += [_sustained_tables(results.sustained)] if results.sustained else []
    singles = [(name, one) for name, one in (("idle", results.idle), ("half load", results.half_load)) if one]
    parts += [_latency_table(singles, results.sustained)] if singles or results.sustained else []
    parts += [_usage_table(results)] if singles or results.sustained else []
    parts += [_account(results.total, results)] if results.total else []
    parts += [_listed("Warnings", warnings(results)), _listed("PROBLEMS", problems(results))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(machine: Machine, stack: str) -> str:
    durability = ", ".join(f"{name}={value}" for name, value in sorted(machine.postgresql_settings.items()))
    return "\n".join(
        [
            f"SentinAI bench, {machine.measured_at}, revision {machine.revision}, stack {stack!r} ({machine.profile})",
            f"{machine.cores} cores {machine.cpu_model}, {machine.memory_gib:g} GiB, {machine.system}, "
            f"load average before {machine.load_average:g}",
            f"Python {machine.python}, PostgreSQL {machine.postgresql} ({durability}), Kafka {machine.kafka}, "
            f"Redis {machine.redis}",
        ]
    )


def _sustained_tables(runs: Sequence[Sustained]) -> str:
    rows = []
    for one in runs:
        rates = one.throughput
        rows.append(
            [
                one.sample,
                f"{rates.resolved_per_second:,.0f}",
                f"{rates.accepted_per_second:,.0f}",
                f"{rates.slowest_slice_per_second:,.0f} to {rates.fastest_slice_per_second:,.0f}",
                f"{rates.events_per_second:,.0f}",
                f"{rates.events_per_minute / 1e6:.2f} M",
                f"{rates.events_per_exception or 0:.2f}",
                f"{one.backlog.mean:,} / {one.backlog.largest:,}",
                "yes" if rates.steady else "NO",
            ]
        )
    title = f"Sustained for {runs[0].throughput.seconds} s (steady: accepted and resolved within {STEADY_WITHIN:.0%})"
    head = [
        "sample",
        "resolved/s",
        "accepted/s",
        "slices",
        "events/s",
        "events/min",
        "per exc.",
        "backlog, mean/max",
        "steady",
    ]
    return f"{title}\n{_table(head, rows)}\n\n{_aftermath(runs)}"


def _aftermath(runs: Sequence[Sustained]) -> str:
    rows = [
        [
            one.sample,
            _seconds(one.backlog.drain_seconds),
            f"{one.backlog.left:,}",
            f"{one.relay.unpublished_at_load_end:,} ({one.relay.seconds_behind_at_load_end:.1f} s)",
            f"{one.relay.unpublished_when_drained:,}",
            _seconds(one.relay.caught_up_seconds),
            f"{sum(one.errors.by_status.values())} / {one.errors.rejected_items}",
            *_books(one.kept),
        ]
        for one in runs
    ]
    head = ["after the load", "drained in", "left", "relay behind", "when drained", "caught up in", "errors/rejected"]
    return _table([*head, *_BOOKS], rows)


_BOOKS = ["accepted", "resolved", "other", "lost", "balanced"]


def _books(kept: Kept) -> list[str]:
    books = kept.books
    other = books.in_flight + books.dead_lettered + books.elsewhere
    balanced = "yes" if books.balanced else "NO"
    return [f"{kept.accepted_by_api:,}", f"{books.resolved:,}", f"{other:,}", f"{kept.lost:,}", balanced]


def _latency_table(singles: Iterable[tuple[str, Single]], runs: Sequence[Sustained]) -> str:
    rows = []
    for name, one in singles:
        beside = f"{name} ({one.achieved_per_second:,.0f}/s beside)" if one.offered_per_second else name
        rows += [
            _latency_row(beside, "POST → RESOLVED", one.journeys.to_resolved),
            _latency_row("", "POST", one.journeys.post),
            _latency_row("", "GET one", one.reads.get_one),
            _latency_row("", "GET list of 50", one.reads.list),
        ]
    for run in runs:
        rows += [
            _latency_row(f"full load, {run.sample}", "receipt → RESOLVED (queueing included)", run.time_in_pipeline),
            _latency_row("", "POST of a whole batch", run.batch_post),
            _latency_row("", "GET one", run.reads.get_one),
            _latency_row("", "GET list of 50", run.reads.list),
        ]
    return "Latency in ms\n" + _table(["load", "what", "n", "p50", "p95", "p99", "max"], rows, left=2)


def _latency_row(load: str, what: str, measured: Latency | None) -> list[str]:
    if measured is None:
        return [load, what, "0", *[_NONE] * 4]
    points = (measured.p50, measured.p95, measured.p99, measured.longest)
    return [load, what, f"{measured.count:,}", *(f"{point:,.1f}" for point in points)]


def _usage_table(results: Results) -> str:
    columns: list[tuple[str, list[Usage]]] = [(one.sample, one.usage) for one in results.sustained]
    columns += [(name, one.usage) for name, one in (("idle", results.idle), ("half", results.half_load)) if one]
    names = list(dict.fromkeys(row.group for _, rows in columns for row in rows))
    found = [{row.group: row for row in rows} for _, rows in columns]
    table = []
    for name in names:
        memory = [row.memory_mib for rows in found if (row := rows.get(name)) and row.memory_mib is not None]
        largest = f"{max(memory):,.0f}" if memory else _NONE
        table.append([name, *(f"{rows[name].cores:.2f}" if name in rows else _NONE for rows in found), largest])
    total = [sum(row.cores for row in rows) for _, rows in columns]
    table.append(["all", *(f"{cores:.2f}" for cores in total), ""])
    return "Cores used, and memory in MiB (largest)\n" + _table(
        ["processes", *(name for name, _ in columns), "memory"], table
    )


def _account(total: Kept, results: Results) -> str:
    rows = [["whole run", *_books(total)]]
    calls = results.tool_calls
    text = _table(["account", *_BOOKS], rows)
    if calls is not None:
        text += f"\nTool server: {calls.calls:,} calls, {calls.worked:,} worked, {calls.worked_twice:,} worked twice"
    return text


def _listed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(f"  - {line}" for line in lines)]) if lines else ""


def _seconds(value: float | None) -> str:
    return "NOT" if value is None else f"{value:.2f} s"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as they need; the first `left` of them are words, the others are figures."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  " + "  ".join(parts).rstrip()

    return "\n".join([line(head), "  " + "  ".join("-" * width for width in widths), *map(line, rows)])
