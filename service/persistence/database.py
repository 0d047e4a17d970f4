"""Connections: who a process is to PostgreSQL, and which of its errors are an outage.

A process acts as one of two roles, neither owner nor BYPASSRLS: `APPLICATION` sees only the tenants its
transaction declares; `SYSTEM` (dispatcher, relay, reconciler, administration) sees all. The login of
DATABASE_URL is a member of both and takes its role when it connects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

import orjson
import psycopg2
import psycopg2.errors
from psycopg2.extensions import connection as DriverConnection
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.persistence.outages import DatabaseUnavailableError, OutageBreaker, TransactionAbortedError
from service.persistence.sealing import Sealing
from service.persistence.sqlstates import Trouble, trouble

__all__ = [
    "DatabaseUnavailableError",
    "Role",
    "connect_listener",
    "open_engine",
    "sqlalchemy_url",
    "sqlstate_of",
    "translated_errors",
    "trouble_of",
]

CONNECT_TIMEOUT_SECONDS = 5

_LIVENESS: Mapping[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that vanished without a word is noticed within about ten seconds, instead of the system's many minutes."""


class Role(StrEnum):
    """The PostgreSQL role a process takes."""

    APPLICATION = "sentinai_app"
    SYSTEM = "sentinai_system"


def sqlalchemy_url(url: str) -> str:
    """A libpq URL as SQLAlchemy takes it, with the psycopg2 driver."""
    return "postgresql+psycopg2://" + url.split("://", 1)[1]


def open_engine(
    url: str,
    role: Role,
    pool_size: int = 4,
    *,
    tested: bool = False,
    sealing: Sealing | None = None,
    breaker: OutageBreaker | None = None,
    session_name: str = "",
) -> Engine:
    """A pool of connections that act as `role`. Opens nothing yet.

    `pool_size` connections stay open; as many more may be opened under load. `tested` connections are asked before
    each use whether they still live, for those who would have to tell a person of one that died while it was idle.
    `sealing` is for those who read or write payloads; without it they cannot. `breaker` keeps those who would only try
    again from asking a server that is away. `session_name` is what the server's list of sessions calls them.
    """
    options = {"sealing": sealing, "breaker": breaker}
    return create_engine(
        sqlalchemy_url(url),
        connect_args={"options": f"-c role={role} -c timezone=UTC", "application_name": session_name, **_LIVENESS},
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        pool_pre_ping=tested,
        # Parameters hold what people and sources sent: they are no part of an error's text, hence of no log.
        hide_parameters=True,
        execution_options={name: value for name, value in options.items() if value is not None},
        json_deserializer=orjson.loads,
        json_serializer=lambda value: orjson.dumps(value).decode(),
    )


def connect_listener(url: str, role: Role) -> DriverConnection:
    """One connection outside any pool, in autocommit, for LISTEN or a session lock."""
    with translated_errors():
        connection: DriverConnection = psycopg2.connect(url, options=f"-c role={role} -c timezone=UTC", **_LIVENESS)
    connection.autocommit = True
    return connection


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what says that PostgreSQL is away, or gave the transaction up, into errors of ours; let faults through.

    Raises DatabaseUnavailableError, TransactionAbortedError.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError(_cause(error)) from error
    except (DBAPIError, psycopg2.Error) as error:
        found = trouble_of(error)
        if found is Trouble.FAULT:
            raise
        kind = DatabaseUnavailableError if found is Trouble.AWAY else TransactionAbortedError
        raise kind(_cause(error)) from error


def trouble_of(error: DBAPIError | psycopg2.Error) -> Trouble:
    """What an error says about the server."""
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return Trouble.AWAY
    code = sqlstate_of(error)
    if code is None and not isinstance(original, psycopg2.OperationalError | psycopg2.InterfaceError):
        return Trouble.FAULT
    return trouble(code)


def sqlstate_of(error: DBAPIError | psycopg2.Error) -> str | None:
    """The server's code; None: it did not come to an answer."""
    code: str | None = getattr(error.orig if isinstance(error, DBAPIError) else error, "pgcode", None)
    return code


def _cause(error: BaseException) -> str:
    original: Any = getattr(error, "orig", None) or error
    return str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__
