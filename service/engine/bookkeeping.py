"""Looks at the conservation ledger now and then. Books that do not balance are an alert, not a figure."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Engine

from service.persistence.queries import Ledger, ledgers, unaccounted
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

EXAMPLES = 5


def check_ledger(engine: Engine) -> Sequence[Ledger]:
    """The books that do not balance, each logged as an error with exceptions to look at. `engine` acts as SYSTEM."""
    with unit_of_work(engine) as transaction:
        broken = [books for books in ledgers(transaction) if not books.balanced]
        for books in broken:
            named = unaccounted(transaction, books.tenant_id, EXAMPLES)
            where = ", ".join(str(row.exception_id) for row in named)
            log.error("%s; look at %s", imbalance(books), where or "its events, one by one")
    return broken


def imbalance(books: Ledger) -> str:
    """What is wrong with books that do not balance, in one line."""
    difference = books.accepted - books.accounted
    what = f"{difference} lost" if difference > 0 else f"{-difference} without the event of their acceptance"
    return (
        f"the ledger of tenant {books.tenant_id} does not balance: {books.accepted} accepted, {books.accounted} "
        f"accounted for, {what}"
    )
