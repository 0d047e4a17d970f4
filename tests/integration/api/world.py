"""The API in this process on the run's real PostgreSQL and Redis, and what it stored, as an outsider sees it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from service.devstack.waiting import wait_until
from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.unit_of_work import Transaction, unit_of_work

NOBODYS_LANE = 255
"""No dispatcher of a test fleet serves it, so what these tests post stays as it is."""
TABLES = ("exceptions", "events", "outbox", "inputs", "idempotency_keys", "approvals", "approvals_given", "timers")


@dataclass(frozen=True)
class Tenant:
    """A tenant of a test's own and its keys."""

    tenant_id: str
    keys: Mapping[str, str]
    """By role."""


@dataclass(frozen=True)
class World:
    """The API and the database behind it."""

    client: FlaskClient
    system: Engine
    """Sees every tenant."""
    application: Engine
    """Acts as the API does."""

    def tenant(self) -> Tenant:
        """A new tenant with a key for each role."""
        tenant_id = f"api-{uuid4().hex[:12]}"
        keys = {role: key_of(secrets.token_bytes(32)) for role in ("ingest", "operator", "admin")}
        with unit_of_work(self.system) as transaction:
            create_tenant(transaction, tenant_id, "a test's tenant")
            for role, key in keys.items():
                create_key(transaction, tenant_id, role, f"the {role}", key=key, key_id=uuid4())
        return Tenant(tenant_id, keys)

    def caller(self, tenant: Tenant, role: str = "admin") -> Caller:
        """Somebody who holds the tenant's key of a role."""
        return Caller(self.client, tenant.keys[role])

    def stored(self, tenant: Tenant) -> dict[str, int]:
        """How many rows the tenant has, by table."""
        with unit_of_work(self.system) as transaction:
            return {
                table: transaction.rows(
                    f"SELECT count(*) AS n FROM {table} WHERE tenant_id = %(t)s", {"t": tenant.tenant_id}
                )[0].n
                for table in TABLES
            }

    def as_engine(self, tenant: Tenant, work: Callable[[Transaction], Any]) -> Any:
        """Change rows as the stages would: puts an exception into the state that a test is about."""
        with unit_of_work(self.application, [tenant.tenant_id]) as transaction:
            return work(transaction)

    def rest(self, tenant: Tenant, exception_id: str, status: str) -> None:
        """The exception's current input is finished, and it rests in `status`."""
        self.as_engine(
            tenant,
            lambda t: t.run(
                "UPDATE exceptions SET stage = 5, status = %(s)s, resting_status = %(s)s WHERE exception_id = %(id)s",
                {"s": status, "id": exception_id},
            ),
        )

    @contextmanager
    def holding(self, tenant: Tenant, statement: str, parameters: Mapping[str, Any], waiting: int) -> Iterator[None]:
        """Hold the locks that a statement takes until so many others wait for them, then undo it."""
        with self.application.connect() as connection:
            connection.exec_driver_sql("SELECT set_config('app.tenants', %s, true)", (tenant.tenant_id,))
            connection.exec_driver_sql(statement, dict(parameters))
            yield
            wait_until(lambda: self._too_few_waiting(waiting), f"{waiting} transactions that wait for a lock", 20)
            connection.rollback()

    def _too_few_waiting(self, wanted: int) -> str | None:
        with unit_of_work(self.system) as transaction:
            (row,) = transaction.rows("SELECT count(DISTINCT pid) AS n FROM pg_locks WHERE NOT granted")
        return None if row.n >= wanted else f"{row.n} wait"

    def outbox(self, tenant: Tenant, exception_id: str) -> list[tuple[int, int, bool]]:
        """(sequence, stage, ready) of the exception's outbox rows, in order."""
        with unit_of_work(self.system) as transaction:
            rows = transaction.rows(
                "SELECT sequence, stage, ready FROM outbox WHERE exception_id = %(id)s ORDER BY sequence",
                {"id": exception_id},
            )
        return [(row.sequence, row.stage, row.ready) for row in rows]


@dataclass
class Caller:
    """Calls with one API key."""

    client: FlaskClient
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers=self._headers({}))

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        data: bytes | None = None,
        media_type: str = "application/json",
        **headers: str,
    ) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            return self.client.post(path, data=data, content_type=media_type, headers=self._headers(named))
        if body is None:
            return self.client.post(path, headers=self._headers(named))
        return self.client.post(path, json=body, headers=self._headers(named))

    def accepted(self, body: Any = None, **headers: str) -> str:
        """Post one exception that is taken; its id."""
        answer = self.post("/exceptions", body or exception(), **headers)
        assert answer.status_code == 202, answer.text
        return str(UUID(answer.json["exceptionId"]))

    def timeline(self, exception_id: str) -> list[dict[str, Any]]:
        """All events of an exception."""
        return self.get(f"/exceptions/{exception_id}/events?limit=200").json["items"]

    def _headers(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"X-API-KEY": self.key, **self.headers, **more}


def exception(**members: Any) -> dict[str, Any]:
    """A body that is taken."""
    return {"sourceSystem": "ERP", "exceptionType": "SETTLEMENT_FAIL", "rawPayload": {"orderId": "O-1"}, **members}


def refused(answer: TestResponse, status: int, kind: str) -> dict[str, Any]:
    """The problem of a refusal, its envelope checked."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert problem.keys() == {"type", "title", "status", "detail", "instance", "requestId", "errors"}
    assert problem["type"] == f"/docs#{kind}"
    assert problem["status"] == status
    assert problem["requestId"] == answer.headers["X-Request-ID"]
    assert all(fault.keys() == {"path", "message"} for fault in problem["errors"])
    return problem
