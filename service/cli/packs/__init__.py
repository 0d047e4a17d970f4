"""`sentinai packs`: packs as files in a repository, and their life in an installation.

The commands are in the modules beside this one: `checking` and `comparing` work offline, `living` and
`backtesting` on a tenant, either on the database or through the HTTP API (`places`).
"""

from __future__ import annotations

from typing import Any

import click

from service.cli.packs.backtesting import backtest
from service.cli.packs.checking import test, validate
from service.cli.packs.comparing import diff
from service.cli.packs.living import activate, load, rollback
from service.cli.packs.looking import history, list_, show
from service.cli.packs.starting import new
from service.errors import TransientError

UNREACHABLE = 3


class _Packs(click.Group):
    """Tells what may pass from what will not: a job can be run again after exit code 3."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TransientError as error:
            click.echo(f"sentinai: {error}", err=True)
            ctx.exit(UNREACHABLE)


@click.group(cls=_Packs)
def command() -> None:
    """Write, check, test, compare and run packs (JSON or YAML).

    validate, test, diff and new need files only. The others work on a tenant: on the database of DATABASE_URL with
    --tenant, or through the HTTP API with --url and --key.

    \b
    Exit codes:
      0  done; valid; all cases pass; no difference
      1  faults, failing cases, differences, or refused: the output says which
      2  the command line is wrong
      3  the database or the API cannot be reached; try again
    """


for _one in (new, validate, test, diff, load, backtest, activate, rollback, list_, show, history):
    command.add_command(_one)
