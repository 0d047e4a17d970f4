"""What people do about an exception, as sub-commands of `sentinai exceptions`: approve, reject, complete, signal,
resolve-effect. Each is one call of the HTTP API with an operator's key, and says what was taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import click
import orjson

from service.cli.api_client import Api
from service.cli.printing import json_option, print_json

_F = TypeVar("_F", bound=Callable[..., Any])
_EXIT_CODES = (
    "\b\nExit codes:\n  0 taken   1 refused   2 wrong usage   3 the state does not allow it   4 no API there\n"
)


def _epilog(*examples: str) -> str:
    return "\b\nExamples:\n" + "".join(f"  {example}\n" for example in examples) + "\n" + _EXIT_CODES


def _json_value(_context: click.Context, option: click.Parameter, text: str | None) -> Any:
    """An option's value as JSON, so that numbers and objects can be told from texts."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"must be JSON, for example '{{\"amount\": 5}}': {error}", param=option) from None


def _idempotent(function: _F) -> _F:
    option = click.option("--idempotency-key", help="The same call again under this key is taken once.")
    return option(function)


_comment = click.option("--comment", required=True, help="Why; people read it later.")
_plan_hash = click.option("--plan-hash", help="The plan you looked at (approval.planHash): refused if it changed.")


def _send(api: Api, path: str, body: dict[str, Any], key: str | None) -> Any:
    given = {name: value for name, value in body.items() if value is not None}
    return api.post(path, given, {"Idempotency-Key": key} if key is not None else None)


def _path(exception_id: str, *parts: str) -> str:
    return "/exceptions/" + "/".join(quote(part, safe="") for part in (exception_id, *parts))


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    told = f"{answer['status']}, sequence {answer['sequence']}"
    if answer.get("approvalsNeeded", 1) > 1:
        told += f", approved by {answer['approvalsGiven']} of {answer['approvalsNeeded']}"
    click.echo(told)


@click.command(
    epilog=_epilog(
        "sentinai exceptions approve 01a205fe-b64c-7364-9d0e-26506e68e860 --comment 'checked the position'",
        "sentinai exceptions approve $ID --comment ok --plan-hash "
        "$(sentinai exceptions get $ID --json | jq -r .approval.planHash)",
    )
)
@click.argument("exception_id")
@_comment
@_plan_hash
@_idempotent
@json_option
@click.pass_obj
def approve(
    api: Api, exception_id: str, comment: str, plan_hash: str | None, idempotency_key: str | None, as_json: bool
) -> None:
    """Allow the plan that waits for approval.

    Where more than one person has to approve, the exception goes on waiting until as many have, each with a key of
    their own.
    """
    body = {"comment": comment, "planHash": plan_hash}
    _tell(_send(api, _path(exception_id, "approve"), body, idempotency_key), as_json)


@click.command(
    epilog=_epilog("sentinai exceptions reject 01a205fe-b64c-7364-9d0e-26506e68e860 --comment 'wrong counterparty'")
)
@click.argument("exception_id")
@_comment
@_plan_hash
@_idempotent
@json_option
@click.pass_obj
def reject(
    api: Api, exception_id: str, comment: str, plan_hash: str | None, idempotency_key: str | None, as_json: bool
) -> None:
    """Refuse the plan that waits for approval: a person owns the exception then."""
    body = {"comment": comment, "planHash": plan_hash}
    _tell(_send(api, _path(exception_id, "reject"), body, idempotency_key), as_json)


@click.command(
    epilog=_epilog(
        "sentinai exceptions complete 01a205fe-b64c-7364-9d0e-26506e68e860 1 --comment 'agreed by phone'",
        "sentinai exceptions complete $ID '3[0].1' --answer '{\"amount\": 1250.5}'",
    )
)
@click.argument("exception_id")
@click.argument("step")
@click.option("--comment", help="What was done; people read it later.")
@click.option("--answer", callback=_json_value, help="JSON that answers the step's form.")
@_idempotent
@json_option
@click.pass_obj
def complete(
    api: Api,
    exception_id: str,
    step: str,
    comment: str | None,
    answer: Any,
    idempotency_key: str | None,
    as_json: bool,
) -> None:
    """Say that a step is done that the plan waits for; STEP is its path, like 3, 3.1 or 3[0].1."""
    path = _path(exception_id, "steps", step, "complete")
    _tell(_send(api, path, {"comment": comment, "answer": answer}, idempotency_key), as_json)


@click.command(
    epilog=_epilog(
        "sentinai exceptions signal 01a205fe-b64c-7364-9d0e-26506e68e860 payment.received",
        "sentinai exceptions signal $ID payment.received --data '{\"amount\": 1250.5}'",
    )
)
@click.argument("exception_id")
@click.argument("name")
@click.option("--data", callback=_json_value, help="A JSON object that goes with it.")
@_idempotent
@json_option
@click.pass_obj
def signal(api: Api, exception_id: str, name: str, data: Any, idempotency_key: str | None, as_json: bool) -> None:
    """Send a signal that a step of the plan may wait for; NAME is what the playbook calls it."""
    body = {"type": name, "data": data}
    _tell(_send(api, _path(exception_id, "events"), body, idempotency_key), as_json)


@click.command(
    "resolve-effect",
    epilog=_epilog(
        "sentinai exceptions resolve-effect $ID $KEY --verdict done --comment 'the ledger has the entry' "
        "--output '{\"entry\": 17}'",
        "sentinai exceptions resolve-effect $ID $KEY --verdict resend --comment 'it never arrived'",
    ),
)
@click.argument("exception_id")
@click.argument("idempotency_key")
@click.option("--verdict", required=True, type=click.Choice(["done", "not_done", "resend"]), help="What became of it.")
@click.option("--comment", required=True, help="How you know; people read it later.")
@click.option("--output", callback=_json_value, help="With done: the tool's answer as JSON.")
@json_option
@click.pass_obj
def resolve_effect(
    api: Api, exception_id: str, idempotency_key: str, verdict: str, comment: str, output: Any, as_json: bool
) -> None:
    """Say what became of a call whose answer nobody knows.

    IDEMPOTENCY_KEY is the effect's: `sentinai exceptions get --json` shows it under unknownEffects with the evidence.
    done: the tool worked it. not_done: it did not, the step has failed. resend: it did not, and is to be called again.
    """
    path = _path(exception_id, "effects", idempotency_key, "resolve")
    _tell(_send(api, path, {"verdict": verdict, "comment": comment, "output": output}, None), as_json)


ACTIONS = (approve, reject, complete, signal, resolve_effect)
