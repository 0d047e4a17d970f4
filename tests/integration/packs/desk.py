"""A tenant's packs over HTTP, and the deciding stages in this process: what a pack's life looks like from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from service.domain.exceptions import Stage
from service.domain.stages import DECIDE
from service.engine.batch import Batch, Reference
from service.engine.pack_pairs import lenient_build
from service.engine.packs import PackSource
from service.engine.runner import StageRunner
from service.persistence.ingestion import Ingestion, NewException
from service.persistence.packs import StoredPacks
from service.persistence.unit_of_work import unit_of_work
from service.wiring import new_id

LANE = 252
"""A lane that no running dispatcher serves."""


def domain(**keys: Any) -> dict[str, Any]:
    """A domain pack: late parcels are LOW and traced."""
    return {
        "domainName": "Deliveries",
        "exceptionTypes": {"LATE": {}, "LOST": {}},
        "severityRules": [{"condition": "exceptionType == 'LATE'", "severity": "LOW"}],
        "sensitiveFields": ["customer"],
        "tools": {
            "trace": {
                "endpoint": "https://tools.example/trace",
                "parameters": {"id": {"type": "string", "required": True}},
            }
        },
        "playbooks": [
            {
                "name": "trace it",
                "exceptionType": "LATE",
                "steps": [
                    {
                        "action_type": "call_tool",
                        "params": {"tool": "trace", "parameters": {"id": "{{ exception.rawPayload.id }}"}},
                    }
                ],
            }
        ],
        "testSuites": [
            {"name": "late", "input": {"exceptionType": "LATE", "rawPayload": {"id": "P"}}, "expectedOutput": {}}
        ],
        **keys,
    }


def severity(name: str) -> dict[str, Any]:
    """The key of a domain pack in which late parcels have this severity."""
    return {"severityRules": [{"condition": "exceptionType == 'LATE'", "severity": name}]}


@dataclass
class Desk:
    """One tenant."""

    client: FlaskClient
    engine: Engine
    """Acts as the API and the workers do."""
    tenant_id: str
    keys: Mapping[str, str]
    source: PackSource

    def call(
        self, method: str, path: str, body: Any = None, *, role: str = "admin", text: str | None = None, **headers: str
    ) -> TestResponse:
        """One request; `text` is sent as YAML."""
        named = {"X-API-KEY": self.keys[role], **{name.replace("_", "-"): value for name, value in headers.items()}}
        if text is not None:
            return self.client.open(path, method=method, data=text, content_type="application/yaml", headers=named)
        return self.client.open(path, method=method, json=body, headers=named)

    def done(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The answer of a request that succeeds."""
        answer = self.call(method, path, body, **more)
        assert answer.status_code == 200, answer.text
        return answer.json

    def put(self, **keys: Any) -> int:
        """Store the domain pack with these keys; its version."""
        version: int = self.done("PUT", "/packs/domain/Deliveries", domain(**keys))["version"]
        return version

    def put_tenant(self, **keys: Any) -> int:
        """Store the tenant pack with these keys; its version."""
        document = {"tenantId": self.tenant_id, "domainName": "Deliveries", **keys}
        version: int = self.done("PUT", "/packs/tenant", document)["version"]
        return version

    def activate(self, version: int, **how: Any) -> Any:
        """Activate a version of the domain pack."""
        return self.done("POST", "/packs/domain/Deliveries/activate", {"version": version, **how})

    def begin(self, **keys: Any) -> None:
        """Both packs stored and in force."""
        self.activate(self.put(**keys))
        self.put_tenant()
        self.done("POST", "/packs/tenant/activate", {})

    def receive(self, received_at: datetime | None = None, **payload: Any) -> UUID:
        """Take a late parcel in, as the API does."""
        return self.receive_many([{"id": "P-1", **payload}], received_at)[0]

    def receive_many(self, payloads: Sequence[Mapping[str, Any]], received_at: datetime | None = None) -> list[UUID]:
        """Take late parcels in, in one transaction."""
        ids = [new_id() for _ in payloads]
        items = [
            NewException(str(one), LANE, str(uuid4()), "warehouse", dict(payload), exception_type="late")
            for one, payload in zip(ids, payloads, strict=True)
        ]
        with unit_of_work(self.engine, [self.tenant_id]) as transaction:
            Ingestion(transaction, self.tenant_id, received_at or datetime.now(UTC)).accept(items)
            transaction.run("DELETE FROM outbox WHERE lane = %(lane)s", {"lane": LANE})
        return ids

    def decide(self, *ids: UUID, source: PackSource | None = None, last: Stage = Stage.PLAYBOOK) -> None:
        """Run the deciding stages as a worker does; with another `source`, as another process."""
        runner = StageRunner(self.engine, source or self.source, DECIDE, lambda: datetime.now(UTC))
        batch = Batch(tuple(Reference(self.tenant_id, one, 1) for one in ids))
        for stage in list(DECIDE)[: last + 1]:
            batch = batch.of(runner.run(stage, batch).survivors)

    def decide_input(self, exception_id: UUID, sequence: int) -> None:
        """Run intake over a later input."""
        with unit_of_work(self.engine, [self.tenant_id]) as transaction:
            transaction.run("DELETE FROM outbox WHERE exception_id = %(id)s", {"id": str(exception_id)})
        runner = StageRunner(self.engine, self.source, DECIDE, lambda: datetime.now(UTC))
        runner.run(Stage.INTAKE, Batch((Reference(self.tenant_id, exception_id, sequence),)))

    def row(self, exception_id: UUID) -> Any:
        """An exception as it is stored."""
        with unit_of_work(self.engine, [self.tenant_id]) as transaction:
            return transaction.rows(
                "SELECT status, severity, domain_version, tenant_version, received_at FROM exceptions"
                " WHERE exception_id = %(id)s",
                {"id": str(exception_id)},
            )[0]

    def counts(self) -> dict[str, int]:
        """How many rows the tenant has in every table that an effect would show in."""
        tables = ("exceptions", "events", "outbox", "plans", "tool_executions", "approvals", "dead_letters")
        with unit_of_work(self.engine, [self.tenant_id]) as transaction:
            return {
                table: transaction.rows(
                    f"SELECT count(*) AS n FROM {table} WHERE tenant_id = %(t)s", {"t": self.tenant_id}
                )[0].n
                for table in tables
            }


def new_source() -> PackSource:
    """What one worker process has; another one stands for another process."""
    return PackSource(StoredPacks(), lenient_build({}))
