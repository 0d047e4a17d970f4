"""What callers see of a tenant's books, as a pydantic model."""

from __future__ import annotations

from service.api.bodies import Out


class Ledger(Out):
    """The tenant's books: accepted is the sum of the rest."""

    accepted: int
    resolved: int
    escalated: int
    cancelled: int
    waiting: int
    in_flight: int
    dead_lettered: int
    discarded: int
    balanced: bool
