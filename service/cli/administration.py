"""What the administrative commands share: a transaction that sees every tenant, and how results are printed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import orjson

from service.persistence.database import Role, open_engine
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.settings import load_settings

json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@contextmanager
def administering() -> Iterator[Transaction]:
    """One transaction on the environment's database that sees all tenants. Raises DatabaseUnavailableError."""
    engine = open_engine(load_settings(os.environ).database_url, Role.SYSTEM, pool_size=1)
    try:
        with unit_of_work(engine) as transaction:
            yield transaction
    finally:
        engine.dispose()


def print_json(value: Any) -> None:
    """A value as one JSON document on stdout."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], nothing: str) -> None:
    """Rows as aligned columns on stdout, or, on stderr, that there are none."""
    if not rows:
        click.echo(nothing, err=True)
        return
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[at]) for line in [list(columns), *cells]) for at in range(len(columns))]
    for line in [list(columns), *cells]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "isoformat") else str(value)
