"""Whether this process lives, and whether it can serve. Nobody needs a key to ask."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

from flask import Blueprint, Response

import service
from service.api.context import answer, services
from service.api.problems import RETRY_AFTER_SECONDS, UNAVAILABLE, ProblemError
from service.api.readiness_schemas import Readiness
from service.domain.packs.faults import Fault
from service.persistence.database import DatabaseUnavailableError
from service.persistence.queries import schema_revision
from service.persistence.unit_of_work import unit_of_work

blueprint = Blueprint("operations", __name__)

_REACH_SECONDS = 0.5
_MIGRATIONS = Path(service.__file__).resolve().parent.parent / "migrations"
_LOOKING = Lock()
OK = "ok"


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return Response(b'{"status":"ok"}', content_type="application/json")


@blueprint.get("/readyz")
def readyz() -> Response:
    """The process can serve: the database is there, with the schema this code needs.

    Without Kafka exceptions are still accepted, without Redis rates are not limited: `degraded`, not unready.
    """
    settings = services().settings
    needed = {"database": _database()}
    wanted = {
        "redis": _reachable([urlsplit(settings.redis_url).netloc]),
        "kafka": _reachable(settings.kafka_bootstrap_servers.split(",")),
    }
    missing = [Fault(name, state) for name, state in needed.items() if state != OK]
    if missing:
        detail = "; ".join(str(fault) for fault in missing)
        raise ProblemError(UNAVAILABLE, detail, missing, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    degraded = any(state != OK for state in wanted.values())
    return answer(Readiness(status="degraded" if degraded else "ready", checks={**needed, **wanted}))


def _database() -> str:
    try:
        with unit_of_work(services().engine) as transaction:
            revision = schema_revision(transaction)
    except DatabaseUnavailableError:
        return "not reachable"
    head = _head()
    return OK if revision == head else f"its schema is at {revision}, this version needs {head}; run the migrations"


def _head() -> str | None:
    """The newest migration of this code. Those who ask together wait for one answer: on a busy machine each would
    otherwise begin anew, and none would come to its end."""
    with _LOOKING:
        return _newest_migration()


@cache
def _newest_migration() -> str | None:
    """Alembic is only imported here: it is half of the process' start."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(_MIGRATIONS)).get_current_head()


def _reachable(addresses: list[str]) -> str:
    """Whether anything listens at one of these host:port addresses."""
    return OK if any(_listens(address) for address in addresses) else "not reachable"


def _listens(address: str) -> bool:
    parts = urlsplit(f"//{address}")
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or 6379), timeout=_REACH_SECONDS).close()
    except OSError:
        return False
    return True
