"""`sentinai pause`: the platform's kill switches."""

from __future__ import annotations

from datetime import datetime

import click

from service.cli.administration import administering
from service.cli.pausing import STAGE, Length, Moment, by_option, document, ends_at, stage_of
from service.cli.printing import json_option, print_json
from service.domain.pauses import Scope
from service.persistence import pauses
from service.persistence.administration import require_tenant
from service.wiring import new_id

_EXAMPLES = """\b
Examples:
  sentinai pause --tenant ACME --reason 'duplicates from their ERP'
  sentinai pause --tool postCashAdjustment --for 30m --reason 'ledger migration'
  sentinai pause --tool sendMail --tenant ACME --reason 'wrong template'
  sentinai pause --stage tool --until 2026-12-31T18:00:00Z --reason 'year end'"""


@click.command(epilog=_EXAMPLES)
@click.option("--tenant", help="This tenant: everything, or only the tool or stage that is named too.")
@click.option("--tool", help="Calls of this tool; every tenant's, unless one is named.")
@click.option("--stage", type=STAGE, help="This stage; for every tenant, unless one is named.")
@click.option("--reason", required=True, help="Why. Tenants whose work waits see it.")
@click.option("--until", type=Moment(), help="When it ends by itself, like 2026-12-31T18:00:00Z.")
@click.option("--for", "length", type=Length(), help="After how long it ends by itself: 90, 30s, 15m, 2h, 1d.")
@by_option
@json_option
def command(
    tenant: str | None,
    tool: str | None,
    stage: str | None,
    reason: str,
    until: datetime | None,
    length: float | None,
    by: str,
    as_json: bool,
) -> None:
    """Stop a tenant, a tool or a stage. Work waits and nothing is lost; what comes in meanwhile is kept.

    It is in force in every process within two seconds. Calls that are out come to their end. `sentinai resume` goes on.
    """
    if tool is not None and stage is not None:
        raise click.UsageError("--tool and --stage are two pauses: throw one after the other")
    if tenant is None and tool is None and stage is None:
        raise click.UsageError("name what to pause: --tenant, --tool or --stage (everything: `sentinai drain`)")
    scope = Scope.TOOL if tool is not None else Scope.STAGE if stage is not None else Scope.TENANT
    new = pauses.NewPause(scope, reason, by, tenant, tool, stage_of(stage), ends_at(until, length), by_platform=True)
    with administering() as transaction:
        if tenant is not None:
            require_tenant(transaction, tenant)
        pause = pauses.pause(transaction, new_id(), new)
    if as_json:
        print_json(document(pause))
    else:
        click.echo(f"{pause.what} is paused; to go on: sentinai resume {pause.pause_id}")
