"""`sentinai dlq redrive` and `discard`: one dead letter at once, or many in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from service.cli.api_client import Api
from service.cli.dlq.asked import Asked, asked_options
from service.cli.dlq.following import exit_code, follow, summary
from service.cli.printing import json_option, print_json
from service.domain.exceptions import PackChoice, Stage


@click.command(
    epilog="\b\nExamples:\n"
    "  sentinai dlq redrive 01a205fe-b64c-7364-9d0e-26506e68e860 --reason 'the account exists now'\n"
    "  sentinai dlq redrive --signature 0f1e2d3c4b5a6978 --dry-run\n"
    "  sentinai dlq redrive --signature 0f1e2d3c4b5a6978 --reason 'endpoint fixed' --canary 10 --rate 50 --follow\n"
    "  sentinai dlq redrive --type SETTLEMENT_FAIL --packs active --reason 'new playbook' --canary 5"
)
@asked_options
@click.option("--canary", type=click.IntRange(0, 10_000), help="So many first; the rest only if all succeed.")
@click.option("--canary-timeout", type=click.IntRange(1), help="Seconds until a canary under way has failed.")
@click.option("--from-stage", type=click.Choice([s.queue for s in Stage]), help="Default: where it failed.")
@click.option(
    "--packs",
    type=click.Choice([str(choice) for choice in PackChoice]),
    help="recorded (default), or active: decided anew from intake on with the packs in force.",
)
@json_option
@click.pass_obj
def redrive(
    api: Api,
    asked: Asked,
    canary: int | None,
    canary_timeout: int | None,
    from_stage: str | None,
    packs: str | None,
    as_json: bool,
) -> None:
    """Send dead letters again: those of the IDs, or all that the options choose.

    One ID alone is sent at once; everything else is an operation that the server works in the background, and that
    `sentinai dlq operation`, `stop` and `resume` look after.
    """
    canaries = {"canary": canary, "canaryTimeoutSeconds": canary_timeout}
    _act(api, "redrive", asked, {"fromStage": from_stage, "packs": packs}, canaries, as_json=as_json)


@click.command(
    epilog="\b\nExamples:\n"
    "  sentinai dlq discard 01a205fe-b64c-7364-9d0e-26506e68e860 --reason 'a test of the source system'\n"
    "  sentinai dlq discard --source TEST --dry-run\n"
    "  sentinai dlq discard --source TEST --reason 'tests of last night' --follow"
)
@asked_options
@json_option
@click.pass_obj
def discard(api: Api, asked: Asked, as_json: bool) -> None:
    """Do not work dead letters any more: those of the IDs, or all that the options choose.

    What waits behind one takes its turn; an exception that nothing can follow is DISCARDED.
    """
    _act(api, "discard", asked, {}, {}, as_json=as_json)


def _act(
    api: Api, verb: str, asked: Asked, how: Mapping[str, Any], canaries: Mapping[str, Any], *, as_json: bool
) -> None:
    """Do it, and tell what came of it. `how` is of one dead letter too, `canaries` of many only."""
    bulk = {"limit": asked.limit, "ratePerSecond": asked.rate, **canaries}
    is_bulk = any(value is not None for value in bulk.values())
    said = {name: value for name, value in {**how, **bulk}.items() if value is not None} | {"reason": asked.reason}
    if asked.alone is not None and not is_bulk:
        answer = api.post(f"/dlq/{quote(asked.alone, safe='')}/{verb}", said, asked.headers)
        if as_json:
            print_json(answer)
        else:
            click.echo(f"{answer['state']}, exception {answer['exceptionId']} {answer['status']}")
        return
    answer = api.post(f"/dlq/{verb}", {"filter": asked.chosen, "dryRun": asked.dry_run, **said}, asked.headers)
    following = asked.following and not asked.dry_run
    if following:
        answer = follow(api, answer, quiet=as_json)
    if as_json:
        print_json(answer)
    elif asked.dry_run:
        _tell_dry_run(answer)
    else:
        click.echo(f"operation {answer['operationId']}: {summary(answer)}")
    if following and (code := exit_code(answer)):
        raise SystemExit(code)


def _tell_dry_run(answer: Mapping[str, Any]) -> None:
    click.echo(
        f"{answer['wouldAct']:,} of {answer['matched']:,} would be {_DONE[answer['action']]}; nothing was changed"
    )
    for one in answer["byStage"]:
        goes_on = f" -> {one['fromStage']}" if one["fromStage"] else ""
        click.echo(f"  {one['count']:>7,}  failed at {one['failedAt']}{goes_on}")
    for rests, count in answer["byRest"].items():
        click.echo(f"  {count:>7,}  exceptions would rest {rests}")
    for one in answer["byCluster"]:
        click.echo(f"  {one['count']:>7,}  {one['signature']}  {one['pattern']}")
    for one in answer["leftOut"]:
        click.echo(f"  {one['count']:>7,}  would be left out: {one['reason']}")
    if answer["waitingForAPerson"]:
        click.echo(f"  {answer['waitingForAPerson']:>7,}  have calls in doubt, which a person has to resolve")
    for one in answer["examples"]:
        click.echo(f"  {one['deadLetterId']}  exception {one['exceptionId']}")


_DONE = {"redrive": "sent again", "discard": "discarded"}
