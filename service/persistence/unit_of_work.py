"""The unit of work: one transaction that first declares which tenants it may touch, and is the only one to commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Row
from sqlalchemy.exc import DBAPIError

from service.persistence.database import sqlstate_of, translated_errors
from service.persistence.outages import guarding
from service.persistence.sealing import Sealing
from service.persistence.sqlstates import is_read_only

_DECLARE = "SELECT set_config('app.tenants', %s, true)"


class Transaction:
    """Executes named statements inside one open transaction. Repositories are built on it; it never commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def sealing(self) -> Sealing:
        """What payloads are sealed and opened with: the engine was opened with it."""
        sealing: Sealing | None = self._connection.get_execution_options().get("sealing")
        if sealing is None:
            raise RuntimeError("payloads are sealed and opened only by an engine of open_engine(..., sealing=...)")
        return sealing

    def rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows a statement returns, as named tuples."""
        return self._connection.exec_driver_sql(statement, dict(parameters or {})).all()

    def run(self, statement: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Execute a statement for its effect; the number of rows it touched."""
        return self._connection.exec_driver_sql(statement, dict(parameters or {})).rowcount


@contextmanager
def unit_of_work(engine: Engine, tenants: Iterable[str] = ()) -> Iterator[Transaction]:
    """A transaction that commits when the block ends and rolls back when it raises.

    `tenants` are the only ones whose rows it sees (role APPLICATION); the SYSTEM role sees all and declares none.
    Raises DatabaseUnavailableError when PostgreSQL is away; whether a commit that broke off took effect is
    then unknown, and the guard makes the repetition harmless. Raises TransactionAbortedError when PostgreSQL gave the
    transaction up in favour of others.
    """
    with guarding(engine), translated_errors(), engine.begin() as connection:
        declared = ",".join(sorted(set(tenants)))
        try:
            if declared:
                connection.exec_driver_sql(_DECLARE, (declared,))
            yield Transaction(connection)
        except DBAPIError as error:
            if is_read_only(sqlstate_of(error)):
                # The pool would hand the same server out for ever; a new connection may meet the one that writes.
                connection.invalidate()
            raise


def as_bytea(value: bytes) -> str:
    """Bytes as a text inside `as_json` that PostgreSQL reads as bytea."""
    return "\\x" + value.hex()


def as_json(value: Any) -> str:
    """A parameter for `json_to_recordset` and jsonb columns: UUIDs and datetimes included."""
    return orjson.dumps(value).decode()
