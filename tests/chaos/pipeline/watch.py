"""Looks at the ledger all the time, as an alert would: it must balance at every instant, not only at the end."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from threading import Event, Thread
from typing import Any

from sqlalchemy import Engine

from service.errors import InfrastructureUnavailableError
from service.persistence.queries import ledger_of
from service.persistence.unit_of_work import unit_of_work

_EVERY = 0.2


class LedgerWatch:
    """A thread that asks for the round's ledgers; `with` it, everything is looked at."""

    def __init__(self, system: Engine, tenants: Collection[str]) -> None:
        self._system = system
        self._tenants = tuple(tenants)
        self._over = Event()
        self._thread = Thread(target=self._look_all_the_time, name="ledger-watch", daemon=True)
        self.looks = 0
        self.unbalanced: list[Mapping[str, Any]] = []
        """The ledgers that did not balance, with the time."""

    def __enter__(self) -> LedgerWatch:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _look_all_the_time(self) -> None:
        while not self._over.wait(_EVERY):
            try:
                self.look()
            except InfrastructureUnavailableError:
                continue

    def look(self) -> None:
        """Ask once. Raises InfrastructureUnavailableError when the database is away."""
        with unit_of_work(self._system) as transaction:
            # One tenant after the other: each is one statement, hence one snapshot.
            books = [ledger_of(transaction, tenant) for tenant in self._tenants]
        self.looks += 1
        self.unbalanced += [{**asdict(one), "at": time.time()} for one in books if not one.balanced]
