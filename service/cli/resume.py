"""`sentinai resume`: ends pauses."""

from __future__ import annotations

from uuid import UUID

import click

from service.cli.administration import administering
from service.cli.pausing import STAGE, by_option, show, stage_of
from service.cli.printing import json_option
from service.domain.pauses import Pause, Scope
from service.persistence import pauses
from service.persistence.unit_of_work import Transaction

_EXAMPLES = """\b
Examples:
  sentinai resume 0199a1b2-…
  sentinai resume --tenant ACME --reason 'their ERP is mended'
  sentinai resume --tool postCashAdjustment
  sentinai resume --drain"""
MOST = 10_000


@click.command(epilog=_EXAMPLES)
@click.argument("pause_id", type=click.UUID, required=False)
@click.option("--tenant", help="Every pause of this tenant as a whole, or of the tool or stage that is named too.")
@click.option("--tool", help="Every pause of this tool for all tenants, or for the one that is named.")
@click.option("--stage", type=STAGE, help="Every pause of this stage for all tenants, or for the one that is named.")
@click.option("--drain", is_flag=True, help="Every drain: as `sentinai drain --end`.")
@click.option("--reason", help="Why it goes on; kept with the pause.")
@by_option
@json_option
def command(
    pause_id: UUID | None,
    tenant: str | None,
    tool: str | None,
    stage: str | None,
    drain: bool,
    reason: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Go on with what was paused: what waits for it is ready at once.

    Exit code 1 when nothing of the kind is paused.
    """
    named = (tenant, tool, stage_of(stage))
    if (pause_id is not None) + (named != (None, None, None)) + drain != 1:
        raise click.UsageError("name one thing to resume: a PAUSE_ID, --tenant, --tool, --stage, or --drain")
    with administering() as transaction:
        if pause_id is not None:
            ended = [pauses.resume(transaction, pause_id, by, reason)]
        else:
            ended = end(transaction, drain, named, by, reason)
    show(ended, as_json=as_json, nothing="nothing of the kind is paused; `sentinai pauses list` shows what is")
    if not ended:
        raise SystemExit(1)


def end(
    transaction: Transaction, drain: bool, named: tuple[object, object, object], by: str, reason: str | None
) -> list[Pause]:
    """End every pause in force that is about exactly this."""
    found = [
        pause
        for pause in pauses.in_force(transaction).pauses
        if (pause.scope is Scope.DISPATCH) == drain and (pause.tenant_id, pause.tool, pause.stage) == named
    ]
    return [pauses.resume(transaction, pause.pause_id, by, reason) for pause in found]
