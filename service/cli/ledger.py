"""`sentinai ledger`: is everything that was accepted somewhere?"""

from __future__ import annotations

import click

from service.cli.administration import administering
from service.cli.printing import json_option, print_json, print_table
from service.persistence.queries import Ledger, ledgers

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


@click.command(epilog="\b\nExamples:\n  sentinai ledger\n  sentinai ledger --tenant ACME --json")
@click.option("--tenant", help="Only this tenant's.")
@json_option
def command(tenant: str | None, as_json: bool) -> None:
    """Print the conservation ledger of every tenant, from one snapshot. Exit code 1 when one is not balanced."""
    with administering() as transaction:
        books = [one for one in ledgers(transaction) if tenant in (None, one.tenant_id)]
    shown = [_shown(one) for one in books]
    if as_json:
        print_json(shown)
    else:
        print_table(shown, _COLUMNS, "nothing was accepted yet")
    if not all(one.balanced for one in books):
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
