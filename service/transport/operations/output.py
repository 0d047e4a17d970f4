"""How results are printed: aligned tables for people, one JSON document for scripts, times in UTC."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ..inspection.moments import moment

json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")


def print_json(value: Any) -> None:
    """A value as one JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], nothing: str) -> None:
    """Rows as aligned columns on stdout, or, on stderr, that there are none."""
    if not rows:
        click.echo(nothing, err=True)
        return
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    titles = [column.upper().replace("_", " ") for column in columns]
    numeric = [all(isinstance(row.get(column), int | None) for row in rows) for column in columns]
    widths = [max(len(line[at]) for line in [titles, *cells]) for at in range(len(columns))]
    for line in [titles, *cells]:
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(aligned).rstrip())


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is changed; without a "y" the command ends with exit code 1."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "-"
    return (moment(value) or "-") if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise TypeError(f"{value!r} has no JSON form")
