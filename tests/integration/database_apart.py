"""A database that nothing else works on: its lanes, timers and reconciler are the test's alone, and so is its clock."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2 import sql

from service.settings import Settings
from tests.integration.conftest import migrate


@contextmanager
def database_apart(settings: Settings) -> Iterator[Settings]:
    """Settings of a new, migrated database on the same server, removed afterwards.

    It does not wait for the disk: what is tested is what was committed, not whether the power may fail.
    """
    name = f"apart_{os.getpid()}_{secrets.token_hex(3)}"
    owner = _renamed(settings.owner_url, name)
    _execute(settings.owner_url, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        _execute(owner, sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(sql.Identifier(name)))
        apart = settings.model_copy(
            update={"database_url": _renamed(settings.database_url, name), "database_owner_url": owner}
        )
        migrate({"DATABASE_URL": apart.database_url, "DATABASE_OWNER_URL": owner})
        yield apart
    finally:
        _execute(settings.owner_url, sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _renamed(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _execute(url: str, statement: sql.Composed) -> None:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
