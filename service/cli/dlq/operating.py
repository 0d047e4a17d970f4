"""`sentinai dlq operations`, `operation`, `stop` and `resume`: looking after operations on many dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import click

from service.cli.api_client import Api
from service.cli.dlq.following import exit_code, follow, summary
from service.cli.printing import json_option, print_json, print_table

_COLUMNS = ("operationId", "action", "state", "total", "succeeded", "failedAgain", "requestedBy", "createdAt", "reason")
_EXAMPLE = "01a205fe-b64c-7364-9d0e-26506e68e860"
_reason = click.option("--reason", required=True, help="Why; kept in the operation's history.")


@click.command(epilog="\b\nExamples:\n  sentinai dlq operations\n  sentinai dlq operations --json | jq '.items[0]'")
@click.option("--limit", default=20, show_default=True, help="At most so many (200).")
@click.option("--cursor", help="nextCursor of the page before.")
@json_option
@click.pass_obj
def operations(api: Api, limit: int, cursor: str | None, as_json: bool) -> None:
    """Show operations, the newest first."""
    answer = api.call("/dlq/operations?" + urlencode({"limit": limit, **({"cursor": cursor} if cursor else {})}))
    if as_json:
        print_json(answer)
        return
    print_table([{**one, **one["progress"]} for one in answer["items"]], _COLUMNS, "no operations")
    if answer["nextCursor"]:
        click.echo(f"there are more: --cursor {answer['nextCursor']}", err=True)


@click.command(
    epilog=f"\b\nExamples:\n  sentinai dlq operation {_EXAMPLE}\n  sentinai dlq operation {_EXAMPLE} --watch"
)
@click.argument("operation_id")
@click.option("--watch", is_flag=True, help="Show progress until it has come to its end; see the exit codes.")
@json_option
@click.pass_obj
def operation(api: Api, operation_id: str, watch: bool, as_json: bool) -> None:
    """Show one operation: how far it is, what came of it, who did what."""
    answer = api.call(f"/dlq/operations/{quote(operation_id, safe='')}")
    if watch:
        answer = follow(api, answer, quiet=as_json)
    if as_json:
        print_json(answer)
    else:
        _tell(answer)
    if watch and (code := exit_code(answer)):
        raise SystemExit(code)


@click.command(epilog=f"\b\nExample:\n  sentinai dlq stop {_EXAMPLE} --reason 'the tool is slow'")
@click.argument("operation_id")
@_reason
@json_option
@click.pass_obj
def stop(api: Api, operation_id: str, reason: str, as_json: bool) -> None:
    """Send nothing more; what was sent is worked to its end."""
    _decide(api, operation_id, "stop", reason, as_json)


@click.command(epilog=f"\b\nExample:\n  sentinai dlq resume {_EXAMPLE} --reason 'the tool is fine again'")
@click.argument("operation_id")
@_reason
@json_option
@click.pass_obj
def resume(api: Api, operation_id: str, reason: str, as_json: bool) -> None:
    """Go on; after a failed canary with the rest."""
    _decide(api, operation_id, "resume", reason, as_json)


def _decide(api: Api, operation_id: str, verb: str, reason: str, as_json: bool) -> None:
    answer = api.post(f"/dlq/operations/{quote(operation_id, safe='')}/{verb}", {"reason": reason})
    if as_json:
        print_json(answer)
    else:
        click.echo(summary(answer))


def _tell(answer: Mapping[str, Any]) -> None:
    click.echo(f"{answer['action']} by {answer['requestedBy']}: {answer['reason']}")
    click.echo(summary(answer))
    for one in answer["outcomes"]:
        click.echo(f"  {one['count']:>7,}  {one['state']:9}  {one['outcome']}")
    for entry in answer["history"]:
        click.echo(
            f"  {entry['at']}  {entry['action']} by {entry['by']}" + (f": {entry['reason']}" if entry["reason"] else "")
        )
