"""`sentinai dlq list` and `show`: which dead letters there are, and what one of them tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import click

from service.cli.api_client import Api
from service.cli.dlq.criteria import as_query, criteria_options
from service.cli.dlq.story import told
from service.cli.printing import json_option, print_json, print_table

_COLUMNS = ("deadLetterId", "state", "stage", "errorClass", "tool", "attempts", "blocking", "deadLetteredAt", "message")
_LONGEST_MESSAGE = 70


@click.command(
    "list",
    epilog="\b\nExamples:\n  sentinai dlq list\n"
    "  sentinai dlq list --stage tool --tool settle --from 2026-01-31T00:00:00Z\n"
    "  sentinai dlq list --signature 0f1e2d3c4b5a6978 --json | jq -r '.items[].deadLetterId'",
)
@criteria_options
@click.option("--limit", default=50, show_default=True, help="At most so many (200).")
@click.option("--cursor", help="nextCursor of the page before.")
@json_option
@click.pass_obj
def list_(api: Api, criteria: dict[str, Any], limit: int, cursor: str | None, as_json: bool) -> None:
    """Show dead letters, the newest first."""
    query = {**as_query(criteria), "limit": limit, **({"cursor": cursor} if cursor else {})}
    answer = api.call("/dlq?" + urlencode(query))
    if as_json:
        print_json(answer)
        return
    rows = [{**one, "message": _short(one["message"])} for one in answer["items"]]
    print_table(rows, _COLUMNS, "no dead letters")
    if answer["nextCursor"]:
        click.echo(f"there are more: --cursor {answer['nextCursor']}", err=True)


@click.command(epilog="\b\nExamples:\n  sentinai dlq show 01a205fe-b64c-7364-9d0e-26506e68e860")
@click.argument("dead_letter_id")
@json_option
@click.pass_obj
def show(api: Api, dead_letter_id: str, as_json: bool) -> None:
    """Tell one dead letter's story: what failed, since when, how often it was tried, what to do."""
    letter = api.call(f"/dlq/{quote(dead_letter_id, safe='')}")
    if as_json:
        print_json(letter)
        return
    alike = api.call(f"/dlq/clusters?state={letter['state']}&signature={letter['signature']}")["items"]
    for line in told(letter, alike[0]["count"] if alike else 1, datetime.now(UTC)):
        click.echo(line)


def _short(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"
