"""`sentinai pauses`: what is paused, and what was, by whom and why."""

from __future__ import annotations

import click

from service.cli.administration import administering
from service.cli.pausing import show
from service.cli.printing import json_option
from service.persistence import pauses


@click.group()
def command() -> None:
    """See what is paused. `sentinai pause` and `sentinai resume` change it."""


@command.command(
    "list", epilog="\b\nExamples:\n  sentinai pauses list\n  sentinai pauses list --all --tenant ACME --json"
)
@click.option("--all", "history", is_flag=True, help="Also what is over.")
@click.option("--tenant", help="Only what concerns this tenant.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@json_option
def list_(history: bool, tenant: str | None, limit: int, as_json: bool) -> None:
    """Show pauses, the newest first."""
    with administering() as transaction:
        found = pauses.list_pauses(transaction, tenant, history=history, limit=limit)
    show(found, as_json=as_json, nothing="nothing is paused")
