"""`sentinai dlq redrive` and `discard`: one dead letter at once, or many in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from service.cli.api_client import Api
from service.cli.dlq.criteria import pending_options
from service.cli.dlq.following import exit_code, follow, summary
from service.cli.printing import json_option, print_json
from service.domain.exceptions import PackChoice, Stage

_DRY = "a dry run"

_reason = click.option("--reason", help="Why; kept on the timelines. Needed unless with --dry-run.")
_all = click.option("--all", "everything", is_flag=True, help="Every pending dead letter of the tenant.")
_limit = click.option("--limit", type=click.IntRange(1, 100_000), help="At most so many, the oldest first.")
_rate = click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many a second.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
_follow = click.option("--follow", "following", is_flag=True, help="Show progress until it has come to its end.")
_key = click.option("--idempotency-key", help="The same call again under this key is taken once.")


@click.command(
    epilog="\b\nExamples:\n"
    "  sentinai dlq redrive 01a205fe-b64c-7364-9d0e-26506e68e860 --reason 'the account exists now'\n"
    "  sentinai dlq redrive --signature 0f1e2d3c4b5a6978 --dry-run\n"
    "  sentinai dlq redrive --signature 0f1e2d3c4b5a6978 --reason 'endpoint fixed' --canary 10 --rate 50 --follow\n"
    "  sentinai dlq redrive --type SETTLEMENT_FAIL --packs active --reason 'new playbook' --canary 5"
)
@click.argument("dead_letter_ids", metavar="[ID]...", nargs=-1)
@pending_options
@_all
@_limit
@click.option("--canary", type=click.IntRange(0, 10_000), help="So many first; the rest only if all succeed.")
@click.option("--canary-timeout", type=click.IntRange(1), help="Seconds until a canary under way has failed.")
@_rate
@click.option("--from-stage", type=click.Choice([s.queue for s in Stage]), help="Default: where it failed.")
@click.option(
    "--packs",
    type=click.Choice([str(choice) for choice in PackChoice]),
    help="recorded (default), or active: decided anew from intake on with the packs in force.",
)
@_reason
@_dry_run
@_follow
@_key
@json_option
@click.pass_obj
def redrive(
    api: Api,
    dead_letter_ids: tuple[str, ...],
    criteria: dict[str, Any],
    everything: bool,
    limit: int | None,
    canary: int | None,
    canary_timeout: int | None,
    rate: float | None,
    from_stage: str | None,
    packs: str | None,
    reason: str | None,
    dry_run: bool,
    following: bool,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Send dead letters again: those of the IDs, or all that the options choose.

    One ID alone is sent at once; everything else is an operation that the server works in the background, and that
    `sentinai dlq operation`, `stop` and `resume` look after.
    """
    how = {"fromStage": from_stage, "packs": packs}
    bulk = {"limit": limit, "canary": canary, "canaryTimeoutSeconds": canary_timeout, "ratePerSecond": rate}
    _act(
        api,
        "redrive",
        dead_letter_ids,
        _filter(dead_letter_ids, criteria, everything),
        how,
        bulk,
        _reason_given(reason, dry_run),
        dry_run=dry_run,
        following=following,
        key=idempotency_key,
        as_json=as_json,
    )


@click.command(
    epilog="\b\nExamples:\n"
    "  sentinai dlq discard 01a205fe-b64c-7364-9d0e-26506e68e860 --reason 'a test of the source system'\n"
    "  sentinai dlq discard --source TEST --dry-run\n"
    "  sentinai dlq discard --source TEST --reason 'tests of last night' --follow"
)
@click.argument("dead_letter_ids", metavar="[ID]...", nargs=-1)
@pending_options
@_all
@_limit
@_rate
@_reason
@_dry_run
@_follow
@_key
@json_option
@click.pass_obj
def discard(
    api: Api,
    dead_letter_ids: tuple[str, ...],
    criteria: dict[str, Any],
    everything: bool,
    limit: int | None,
    rate: float | None,
    reason: str | None,
    dry_run: bool,
    following: bool,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Do not work dead letters any more: those of the IDs, or all that the options choose.

    What waits behind one takes its turn; an exception that nothing can follow is DISCARDED.
    """
    _act(
        api,
        "discard",
        dead_letter_ids,
        _filter(dead_letter_ids, criteria, everything),
        {},
        {"limit": limit, "ratePerSecond": rate},
        _reason_given(reason, dry_run),
        dry_run=dry_run,
        following=following,
        key=idempotency_key,
        as_json=as_json,
    )


def _act(
    api: Api,
    verb: str,
    ids: tuple[str, ...],
    chosen: Mapping[str, Any],
    how: Mapping[str, Any],
    bulk: Mapping[str, Any],
    reason: str,
    *,
    dry_run: bool,
    following: bool,
    key: str | None,
    as_json: bool,
) -> None:
    headers = {"Idempotency-Key": key} if key is not None else None
    said = {name: value for name, value in {**how, **bulk}.items() if value is not None} | {"reason": reason}
    alone = len(ids) == 1 and set(chosen) == {"ids"} and not dry_run and not following
    if alone and not any(value is not None for value in bulk.values()):
        answer = api.post(f"/dlq/{quote(ids[0], safe='')}/{verb}", said, headers)
        if as_json:
            print_json(answer)
        else:
            click.echo(f"{answer['state']}, exception {answer['exceptionId']} {answer['status']}")
        return
    answer = api.post(f"/dlq/{verb}", {"filter": chosen, "dryRun": dry_run, **said}, headers)
    if following and not dry_run:
        answer = follow(api, answer, quiet=as_json)
    if as_json:
        print_json(answer)
    elif dry_run:
        _tell_dry_run(answer)
    else:
        click.echo(f"operation {answer['operationId']}: {summary(answer)}")
    if following and not dry_run and (code := exit_code(answer)):
        raise SystemExit(code)


def _filter(ids: tuple[str, ...], criteria: Mapping[str, Any], everything: bool) -> dict[str, Any]:
    chosen = {**criteria, **({"ids": list(ids)} if ids else {}), **({"all": True} if everything else {})}
    if not chosen:
        raise click.UsageError("say which: IDs, options like --signature, or --all")
    return chosen


def _reason_given(reason: str | None, dry_run: bool) -> str:
    if reason is None and not dry_run:
        raise click.UsageError("--reason is needed: people read it on the timeline")
    return reason or _DRY


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
