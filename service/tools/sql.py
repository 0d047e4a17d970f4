"""Tools of kind `sql`: one SELECT on a connection that the operator declared, its rows as JSON.

| what happened                                                     | answer    |
| ------------------------------------------------------------------ | --------- |
| rows, also none                                                     | CONFIRMED |
| connection not declared, or not for this tenant                     | PERMANENT |
| no connection, the connection lost, too slow, serialisation failure | TRANSIENT |
| it would write, wrong SQL, no privilege, a value of a wrong type    | PERMANENT |
| one row larger than `maxBytes`                                      | PERMANENT |

A read has no effect, so a failed one never leaves anything in doubt. That it only reads is kept three times: the
definition is one statement without `;`, it runs as a sub-select of a cursor, in a READ ONLY transaction. What the
login may see is the operator's to limit: functions with effects of their own are stopped by privileges only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import orjson
import psycopg2
from psycopg2.extensions import connection as Connection

from service.domain.packs.checking.tool_checks import BOUND
from service.errors import PermanentError
from service.resources import SqlConnection
from service.secrets import Secrets
from service.tools.answers import deferred, not_sent, rejected
from service.tools.calls import Answer, PreparedCall, ToolResult

ROWS_PER_FETCH = 20
"""Rows of at most `maxBytes` each that are in memory at once."""

DEFAULT_ROWS = 100
DEFAULT_BYTES = 262_144

_SHORTEST_CONNECT_SECONDS = 2
"""libpq takes less for two."""

_AGAIN = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that speak of the moment and not of the query."""


class ConnectionUnknownError(PermanentError):
    """A tool names a connection that the operator has not declared for its tenant."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no connection {name!r} for this tenant; the operator declares it")


class SeveralStatementsError(PermanentError):
    """A query that may be more than one."""

    def __init__(self) -> None:
        super().__init__("its query holds ';' and may be several; correct it in the pack")


class RowTooLargeError(PermanentError):
    """A single row is larger than all rows together may be."""

    def __init__(self) -> None:
        super().__init__("a single row is larger than maxBytes; select less of it")


class SqlReads:
    """Makes the calls; safe to use from several threads. Each call has a connection of its own, so that nothing
    that one tenant's query sets is there for the next."""

    def __init__(self, connections: Mapping[str, SqlConnection], secrets: Secrets) -> None:
        """Opens nothing."""
        self._connections = connections
        self._secrets = secrets

    def __call__(self, call: PreparedCall) -> ToolResult:
        """Make one call."""
        name = call.call.options["connection"]
        declared = self._connections.get(name)
        if declared is None or not declared.allows(call.tenant_id):
            raise ConnectionUnknownError(name)
        url = self._secrets.resolve_for_operator(declared.url)
        began = time.monotonic()
        try:
            opened = _connect(url, call.call.timeout_seconds)
        except psycopg2.Error as error:
            return not_sent(call, f"no connection {name!r}: {type(error).__name__}", time.monotonic() - began)
        with closing(opened) as connection:
            return _read(connection, call, began)


def _connect(url: str, seconds: float) -> Connection:
    connection = psycopg2.connect(
        url,
        connect_timeout=max(_SHORTEST_CONNECT_SECONDS, int(seconds)),
        tcp_user_timeout=int(seconds * 1000),
        # The transaction is declared read-only as well; this holds for whatever follows it in the session.
        options=f"-c statement_timeout={int(seconds * 1000)} -c default_transaction_read_only=on",
        application_name="sentinai tool",
    )
    connection.set_session(readonly=True)
    return connection


def _read(connection: Connection, call: PreparedCall, began: float) -> ToolResult:
    try:
        output = _rows(connection, call, began + call.call.timeout_seconds)
    except TimeoutError:
        return deferred(call, "timeout; raise the tool's timeoutSeconds or select less", time.monotonic() - began)
    except psycopg2.errors.QueryCanceled:
        return deferred(call, "timeout; raise the tool's timeoutSeconds or mend the query", time.monotonic() - began)
    except psycopg2.Error as error:
        # The server's message may quote a value; its code does not.
        cause = f"{type(error).__name__}, {error.pgcode or 'no SQLSTATE'}"
        again = error.pgcode is None or error.pgcode.startswith(_AGAIN)
        judged = deferred if again else rejected
        return judged(call, cause, time.monotonic() - began)
    except RowTooLargeError as error:
        return rejected(call, str(error), time.monotonic() - began)
    return ToolResult(call.key, Answer.CONFIRMED, output, duration_seconds=time.monotonic() - began)


def _rows(connection: Connection, call: PreparedCall, deadline: float) -> Mapping[str, Any]:
    options = call.call.options
    most, largest = options.get("maxRows", DEFAULT_ROWS), options.get("maxBytes", DEFAULT_BYTES)
    rows: list[Any] = []
    size = 0
    for text in _texts(connection, call, largest, deadline):
        size += len(text.encode())
        if size > largest and not rows:
            raise RowTooLargeError
        if size > largest or len(rows) == most:
            return {"rows": rows, "rowCount": len(rows), "truncated": True}
        rows.append(orjson.loads(text))
    return {"rows": rows, "rowCount": len(rows), "truncated": False}


def _texts(connection: Connection, call: PreparedCall, largest: int, deadline: float) -> Iterator[str]:
    """The rows as JSON texts, one after the other, none longer than `largest` and one characters."""
    # The line break ends a comment that the query may end with.
    query = f"SELECT left(to_jsonb(found)::text, {largest + 1}) FROM (\n{_bindable(call)}\n) AS found"  # noqa: S608 - the definition's own text; values are bound
    with connection.cursor(name="tool") as cursor:
        cursor.execute(query, _values(call))
        while batch := cursor.fetchmany(ROWS_PER_FETCH):
            for (text,) in batch:
                yield text
            if time.monotonic() > deadline:
                raise TimeoutError


def _bindable(call: PreparedCall) -> str:
    """The query as psycopg2 binds it: `%(name)s` for `:name`."""
    query: str = call.call.options["query"]
    # A plan may be older than the check of its pack; libpq would send several statements.
    if ";" in query:
        raise SeveralStatementsError
    return BOUND.sub(r"%(\1)s", query.replace("%", "%%")).replace("\\:", ":")


def _values(call: PreparedCall) -> dict[str, Any]:
    given = call.call.parameters
    return {name: _bound(given.get(name)) for name in BOUND.findall(call.call.options["query"])}


def _bound(value: Any) -> Any:
    """A JSON value as one that is bound: lists of plain values become arrays, other structures JSON texts."""
    if isinstance(value, Mapping):
        return orjson.dumps(value).decode()
    if isinstance(value, Sequence) and not isinstance(value, str):
        plain = all(item is None or isinstance(item, str | int | float | bool) for item in value)
        return list(value) if plain else orjson.dumps(value).decode()
    return value
