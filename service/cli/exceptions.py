"""`sentinai exceptions`: post, look at and decide on exceptions through the HTTP API, as a tenant does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import quote, urlencode

import click
import orjson

from service.cli.api_client import Api
from service.cli.api_options import api_options
from service.cli.exception_actions import ACTIONS
from service.cli.printing import json_option, print_json, print_table


@click.group()
@api_options
@click.pass_context
def command(context: click.Context, api_url: str, api_key: str | None) -> None:
    """Post, inspect and decide on exceptions over HTTP, with an API key."""
    context.obj = Api(api_url, api_key)


for _action in ACTIONS:
    command.add_command(_action)


@command.command(
    epilog="\b\nExamples:\n  sentinai exceptions post exception.json\n"
    '  echo \'{"sourceSystem": "ERP", "rawPayload": {}}\' | sentinai exceptions post -\n'
    "  sentinai exceptions post exception.json --idempotency-key 2026-01-31/17"
)
@click.argument("body", type=click.File("rb"))
@click.option("--idempotency-key", help="The same key and body again is taken once.")
@json_option
@click.pass_obj
def post(api: Api, body: IO[bytes], idempotency_key: str | None, as_json: bool) -> None:
    """Send one exception; BODY is a JSON file, or - for stdin."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
    answer = api.call("/exceptions", body.read(), headers)
    if as_json:
        print_json(answer)
    else:
        click.echo(answer["exceptionId"])


@command.command(epilog="\b\nExamples:\n  sentinai exceptions get 01a205fe-b64c-7364-9d0e-26506e68e860")
@click.argument("exception_id")
@json_option
@click.pass_obj
def get(api: Api, exception_id: str, as_json: bool) -> None:
    """Show one exception with its plan and what it waits for."""
    answer = api.call(f"/exceptions/{quote(exception_id, safe='')}")
    if as_json:
        print_json(answer)
        return
    for name in ("exceptionId", "status", "stage", "exceptionType", "severity", "sourceSystem", "receivedAt"):
        click.echo(f"{name:14} {answer[name] if answer[name] is not None else '-'}")
    for step in (answer["plan"] or {"steps": ()})["steps"]:
        click.echo(f"  step {step['path']:<5} {step['state']:10} {step['kind']:9} {step['name']}")
    retry = answer["nextRetry"]
    if retry:
        of = f" of {retry['of']}" if retry["of"] else ""
        click.echo(f"attempt {retry['attempt']}{of} follows at {retry['at']}: {retry['error']}")
    for line in _waits(answer):
        click.echo(line)
    for line in _died(answer):
        click.echo(line)


def _died(answer: dict[str, Any]) -> Iterator[str]:
    """What could not be worked, and what waits behind it."""
    letter, blocked = answer["deadLetter"], answer["blockedBy"]
    if letter:
        yield f"dead-lettered at {letter['stage']}: {letter['message']}"
        yield f"  {letter['state']}; its story: sentinai dlq show {letter['deadLetterId']}"
    if blocked:
        by = f"dead letter {blocked['deadLetterId']} of input {blocked['sequence']}"
        yield f"blocked since {blocked['since']} by {by}:"
        yield f"  {blocked['waiting']} later inputs wait until it is redriven or discarded"


def _waits(answer: dict[str, Any]) -> Iterator[str]:
    """What somebody has to do or know, a line each."""
    approval = answer["approval"]
    for waiting in answer["waitingFor"]:
        until = f" until {waiting['until']}" if waiting["until"] else ""
        if waiting["kind"] == "approval":
            given, needed = len(approval["approvals"]), approval["approvalsNeeded"]
            yield f"waits for approval ({given} of {needed}){until}: {approval['reason']}"
            yield f"  plan {approval['planHash']} of playbook {approval['playbook']}"
            yield from (f"  {step}" for step in approval["steps"])
        else:
            what = waiting["signal"] or waiting["instructions"] or waiting["name"]
            yield f"waits for {waiting['kind']} at step {waiting['step']}{until}: {what}"
            if waiting["form"] is not None:
                yield f"  answer: {orjson.dumps(waiting['form']).decode()}"
    for effect in answer["unknownEffects"]:
        yield f"unknown effect {effect['idempotencyKey']} of step {effect['step']}: {effect['tool']}, {effect['error']}"


@command.command(
    "list",
    epilog="\b\nExamples:\n  sentinai exceptions list --status DEAD_LETTERED\n"
    "  sentinai exceptions list --retrying\n"
    "  sentinai exceptions list --limit 200 --json | jq -r '.items[].exceptionId'",
)
@click.option("--status", multiple=True, help="Only these; may be repeated.")
@click.option("--type", "exception_type", help="Only this exception type.")
@click.option("--retrying", is_flag=True, help="Only those that failed for now and are tried again.")
@click.option("--blocked", is_flag=True, help="Only those with later inputs that wait behind a dead letter.")
@click.option("--limit", default=50, show_default=True, help="At most so many (200).")
@click.option("--cursor", help="nextCursor of the page before.")
@json_option
@click.pass_obj
def list_(
    api: Api,
    status: tuple[str, ...],
    exception_type: str | None,
    retrying: bool,
    blocked: bool,
    limit: int,
    cursor: str | None,
    as_json: bool,
) -> None:
    """Show the newest exceptions."""
    given = {
        "status": ",".join(status),
        "exceptionType": exception_type,
        "retrying": "true" if retrying else None,
        "blocked": "true" if blocked else None,
        "limit": limit,
        "cursor": cursor,
    }
    answer = api.call("/exceptions?" + urlencode({name: value for name, value in given.items() if value}))
    if as_json:
        print_json(answer)
    else:
        columns: tuple[str, ...] = ("exceptionId", "status", "exceptionType", "severity", "receivedAt")
        columns += (("nextRetryAt",) if retrying else ()) + ("blockedBy",)
        print_table([_fenced(one) for one in answer["items"]], columns, "no exceptions")


@command.command(epilog="\b\nExamples:\n  sentinai exceptions events 01a205fe-b64c-7364-9d0e-26506e68e860")
@click.argument("exception_id")
@json_option
@click.pass_obj
def events(api: Api, exception_id: str, as_json: bool) -> None:
    """Show what happened to an exception, oldest first."""
    path = f"/exceptions/{quote(exception_id, safe='')}/events?limit=200"
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.call(path + (f"&cursor={cursor}" if cursor else ""))
        found += page["items"]
        cursor = page["nextCursor"]
    if as_json:
        print_json(found)
    else:
        columns = ("occurredAt", "sequence", "stage", "type", "blockedBy")
        print_table([_fenced(one) for one in found], columns, "nothing happened")


def _fenced(one: dict[str, Any]) -> dict[str, Any]:
    """A row of a list with the dead letter that keeps it from going on, by its id."""
    return {**one, "blockedBy": one["blockedBy"] and one["blockedBy"]["deadLetterId"]}
