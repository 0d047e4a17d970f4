"""`sentinai ledger`: is everything that was accepted somewhere?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import click
import orjson

from service.cli.administration import administering
from service.cli.pausing import Length
from service.cli.printing import json_option, print_json, print_table
from service.engine.bookkeeping import imbalance
from service.persistence.queries import Ledger, ledgers, unaccounted

_COLUMNS = (
    "tenantId",
    "accepted",
    "resolved",
    "escalated",
    "cancelled",
    "waiting",
    "inFlight",
    "deadLettered",
    "discarded",
    "balanced",
)
_NAMED = 1000
_EXAMPLES = """\b
Examples:
  sentinai ledger
  sentinai ledger --tenant ACME --json
  sentinai ledger --watch --interval 5
  sentinai ledger --watch --for 10m --json >> ledger.ndjson
  sentinai ledger --audit"""


@click.command(epilog=_EXAMPLES)
@click.option("--tenant", help="Only this tenant's.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C, --for, or an imbalance.")
@click.option("--interval", type=Length(), default=2.0, show_default=True, help="With --watch: between two looks.")
@click.option("--for", "length", type=Length(), help="With --watch: how long, like 90, 30s, 15m, 2h.")
@click.option(
    "--audit", is_flag=True, help="Compare exception by exception, and name those that are not accounted for."
)
@json_option
def command(tenant: str | None, watch: bool, interval: float, length: float | None, audit: bool, as_json: bool) -> None:
    """Print the conservation ledger of every tenant, from one snapshot. Exit code 1 when one is not balanced.

    With --watch --json each look is one line. --audit reads every exception: minutes where there are many millions.
    """
    if audit:
        _audit(tenant, as_json)
        return
    if not watch:
        books = _look(tenant)
        if as_json:
            print_json([_shown(one) for one in books])
        else:
            _print(books)
        _fail_if_broken(books)
        return
    for seen in looks(lambda: _look(tenant), interval, length, time.monotonic, time.sleep):
        _print_look(seen, as_json)
        _fail_if_broken(seen)


def looks(
    look: Callable[[], Sequence[Ledger]],
    interval: float,
    length: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[Sequence[Ledger]]:
    """One look after the other, at least one; what a look took is waited once more, so that looking is not the load."""
    ends = None if length is None else clock() + length
    while True:
        began = clock()
        yield look()
        pause = max(interval, clock() - began)
        if ends is not None and clock() + pause > ends:
            return
        sleep(pause)


def _look(tenant: str | None) -> list[Ledger]:
    with administering() as transaction:
        return [one for one in ledgers(transaction) if tenant in (None, one.tenant_id)]


def _print(books: Sequence[Ledger]) -> None:
    print_table([_shown(one) for one in books], _COLUMNS, "nothing was accepted yet")


def _print_look(books: Sequence[Ledger], as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        line = {"at": now, "balanced": all(one.balanced for one in books), "tenants": [_shown(one) for one in books]}
        click.echo(orjson.dumps(line, option=orjson.OPT_UTC_Z))
        return
    if sys.stdout.isatty():
        click.echo("\x1b[H\x1b[2J", nl=False)
    click.echo(f"{now:%Y-%m-%dT%H:%M:%SZ}")
    _print(books)


def _fail_if_broken(books: Sequence[Ledger]) -> None:
    broken = [one for one in books if not one.balanced]
    for one in broken:
        named = f"`sentinai ledger --audit --tenant {one.tenant_id}` names them"
        click.echo(f"sentinai: {imbalance(one)}; {named}", err=True)
    if broken:
        raise SystemExit(1)


def _audit(tenant: str | None, as_json: bool) -> None:
    with administering() as transaction:
        found = unaccounted(transaction, tenant, _NAMED)
    shown = [
        {
            "tenantId": row.tenant_id,
            "exceptionId": str(row.exception_id),
            "status": row.status,
            "fault": "the event of its acceptance is gone" if row.has_row else "accepted, and its row is gone",
        }
        for row in found
    ]
    if as_json:
        print_json(shown)
    else:
        nothing = "every exception is accounted for"
        print_table(shown, ("tenantId", "exceptionId", "status", "fault"), nothing)
    if shown:
        raise SystemExit(1)


def _shown(books: Ledger) -> dict[str, object]:
    values = (
        books.tenant_id,
        books.accepted,
        books.resolved,
        books.escalated,
        books.cancelled,
        books.waiting,
        books.in_flight,
        books.dead_lettered,
        books.discarded,
        books.balanced,
    )
    return dict(zip(_COLUMNS, values, strict=True))
