"""Tools of kind sql against a real PostgreSQL: they read what they may, and cannot do anything else."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from service.resources import SqlConnection
from service.tools import Answer, HttpToolClient, ToolResult
from service.tools.kinds import BlockingKind
from service.tools.sql import SqlReads
from tests.stack_fixture import StackUnderTest
from tests.tools.given import a_call, a_client, result_of, secrets_with

pytestmark = pytest.mark.stack

SCHEMA = f"tool_reads_{os.getpid()}"


@pytest.fixture(scope="module")
def database_url(stack: StackUnderTest) -> Iterator[str]:
    # given a table that belongs to the very login the tools use: nothing but the transaction keeps them from writing
    url = stack.environment.get("DATABASE_OWNER_URL") or stack.environment["DATABASE_URL"]
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        cursor.execute(f"CREATE TABLE {SCHEMA}.claims (id text, amount numeric, filed date, lines jsonb)")
        cursor.execute(
            f"INSERT INTO {SCHEMA}.claims SELECT 'C-' || n, n * 1.5, date '2026-01-01' + n, jsonb_build_array(n) "
            "FROM generate_series(1, 300) n"
        )
        connection.commit()
        yield url
        cursor.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        connection.commit()


@pytest.fixture
def client(database_url: str) -> Iterator[HttpToolClient]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"postgresql://a:b@127.0.0.1:{closed.getsockname()[1]}/x"
        connections = {
            "claims": SqlConnection(url="secret://env/CLAIMS", tenants=("ACME",)),
            "down": SqlConnection(url="secret://env/DOWN", tenants=("*",)),
        }
        reads = SqlReads(connections, secrets_with(CLAIMS=database_url, DOWN=nobody))
        with a_client(kinds=lambda: {"sql": BlockingKind(reads)}) as client:
            yield client


def read(client: HttpToolClient, query: str, parameters: dict[str, Any] | None = None, **definition: Any) -> ToolResult:
    declared = {name: {"type": "string"} for name in (*(parameters or {}), "least")}
    tool = {"kind": "sql", "connection": "claims", "query": query, "parameters": declared, **definition}
    return result_of(client, a_call(tool, parameters))


def rows_of(result: ToolResult) -> list[Any]:
    assert result.answer is Answer.CONFIRMED, result.error
    assert result.output is not None
    rows: list[Any] = result.output["rows"]
    return rows


def claims_left(database_url: str) -> int:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {SCHEMA}.claims")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])


def test_rows_come_as_json(client: HttpToolClient) -> None:
    query = f"SELECT id, amount, filed, lines FROM {SCHEMA}.claims WHERE id = :id -- the one"
    assert rows_of(read(client, query, {"id": "C-7"})) == [
        {"id": "C-7", "amount": 10.5, "filed": "2026-01-08", "lines": [7]}
    ]
    assert rows_of(read(client, query, {"id": "C-9999"})) == []


@pytest.mark.parametrize("value", ["' OR '1'='1", "C-1'; DROP TABLE claims; --", "%(id)s", ":id", "%s"])
def test_a_parameter_is_bound_whatever_it_holds(client: HttpToolClient, database_url: str, value: str) -> None:
    query = f"SELECT id, :id::text AS asked FROM {SCHEMA}.claims WHERE id = :id OR id = 'C-1' AND '50%' <> ''"
    assert rows_of(read(client, query, {"id": value})) == [{"id": "C-1", "asked": value}]
    assert claims_left(database_url) == 300


def test_lists_numbers_and_what_is_not_given_are_bound_too(client: HttpToolClient) -> None:
    query = f"SELECT id FROM {SCHEMA}.claims WHERE id = ANY(:ids) AND (:least::numeric IS NULL OR amount > :least)"
    ids = ["C-1", "C-9"]
    assert len(rows_of(read(client, query, {"ids": ids}))) == 2
    assert len(rows_of(read(client, query, {"ids": ids, "least": 5.5}))) == 1


@pytest.mark.parametrize(
    "query",
    [
        f"WITH gone AS (DELETE FROM {SCHEMA}.claims RETURNING id) SELECT * FROM gone",
        f"SELECT * FROM {SCHEMA}.claims) AS found UNION ALL (SELECT 1 FOR UPDATE",
        f"SELECT nextval(pg_get_serial_sequence('{SCHEMA}.claims', 'id'))::text, lo_create(0)",
        "SELECT set_config('transaction_read_only', 'off', false)",
        f"SELECT query_to_xml('DELETE FROM {SCHEMA}.claims', true, true, '')",
    ],
    ids=["a write inside a read", "out of the brackets", "a large object", "switching it off", "a query in a text"],
)
def test_an_attempt_to_write_fails(client: HttpToolClient, database_url: str, query: str) -> None:
    result = read(client, query)
    assert result.answer is Answer.PERMANENT, result
    assert claims_left(database_url) == 300


def test_two_statements_are_none_even_where_no_pack_was_checked(client: HttpToolClient, database_url: str) -> None:
    # given a definition that got past the checks of packs
    call = a_call({"kind": "sql", "connection": "claims", "query": "SELECT 1"})
    smuggled = f"SELECT 1) AS found; COMMIT; BEGIN; DELETE FROM {SCHEMA}.claims; COMMIT; SELECT 1 FROM (SELECT 1"
    call.call.options["query"] = smuggled  # type: ignore[index]
    # when it is called, then it is not executed
    assert result_of(client, call).answer is Answer.PERMANENT
    assert claims_left(database_url) == 300


def test_a_slow_query_is_cut_off_at_the_server(client: HttpToolClient, database_url: str) -> None:
    # when a query takes longer than the tool may
    began = time.monotonic()
    result = read(client, "SELECT pg_sleep(30)", timeoutSeconds=0.5)
    # then it ends in time, may be tried again because a read changes nothing, and the server works no longer on it
    assert (result.answer, time.monotonic() - began < 5) == (Answer.TRANSIENT, True)
    assert "timeoutSeconds" in (result.error or "")
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sentinai tool' AND state = 'active'"
        )
        assert cursor.fetchone() == (0,)


def test_rows_and_bytes_are_capped(client: HttpToolClient) -> None:
    everything = f"SELECT id FROM {SCHEMA}.claims"
    result = read(client, everything, maxRows=5)
    assert (len(rows_of(result)), (result.output or {})["truncated"]) == (5, True)
    result = read(client, f"SELECT repeat('x', 1000) FROM {SCHEMA}.claims", maxBytes=10_000, maxRows=300)
    assert (len(rows_of(result)), (result.output or {})["truncated"]) == (9, True)
    result = read(client, "SELECT repeat('x', 5000000) AS much", maxBytes=10_000)
    assert result.answer is Answer.PERMANENT
    assert "maxBytes" in (result.error or "")
    result = read(client, everything, maxRows=300)
    assert (len(rows_of(result)), (result.output or {})["truncated"]) == (300, False)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nothing FROM nowhere", "UndefinedTable"),
        ("SELECT 1 +", "SyntaxError"),
        ("SELECT 'DE02120300000000202051'::int", "InvalidTextRepresentation"),
    ],
)
def test_a_wrong_query_is_refused_without_repeating_values(client: HttpToolClient, query: str, says: str) -> None:
    result = read(client, query)
    assert result.answer is Answer.PERMANENT
    assert says in (result.error or "")
    assert "DE02" not in (result.error or "")


def test_a_database_that_is_not_there_may_be_asked_again(client: HttpToolClient) -> None:
    assert read(client, "SELECT 1", connection="down").answer is Answer.TRANSIENT


def test_a_connection_that_breaks_meanwhile_may_be_asked_again(client: HttpToolClient) -> None:
    result = read(client, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert result.answer is Answer.TRANSIENT


@pytest.mark.parametrize(("connection", "tenant"), [("payroll", "ACME"), ("claims", "OTHER")])
def test_a_connection_is_the_operators_to_give(client: HttpToolClient, connection: str, tenant: str) -> None:
    call = a_call({"kind": "sql", "connection": connection, "query": "SELECT 1"}, tenant=tenant)
    result = result_of(client, call)
    assert result.answer is Answer.PERMANENT
    assert "operator" in (result.error or "")
