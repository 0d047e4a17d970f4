"""What cannot be read of an exception (payload, plan, packs) fails it alone, and not the batch that it came in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference
from service.engine.pipeline import Pipeline
from service.persistence.database import Role, open_engine
from service.persistence.ingestion import Ingestion, NewException
from service.persistence.sealing import Sealing, SealKey
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from service.wiring import build_pipeline, new_id
from tests.tenants import TestTenant, new_tenant, sample

NOBODYS_LANE = 251
OURS, LOST = SealKey("ours", secrets.token_bytes(32)), SealKey("lost", secrets.token_bytes(32))


@pytest.fixture
def pipeline(migrated: Settings, tool_server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A worker's pipeline that has one of the two keys."""
    monkeypatch.setenv("SEALING_TEST_OURS", OURS.secret.hex())
    changed = {
        "pack_variables": {"toolServerUrl": tool_server_url},
        "payload_keys": {"ours": "secret://env/SEALING_TEST_OURS"},
    }
    built = build_pipeline(migrated.model_copy(update=changed))
    yield built
    built.close()


@pytest.fixture
def tenant(system: Engine) -> TestTenant:
    return new_tenant(system)


def posted(settings: Settings, tenant: TestTenant, sealing: Sealing) -> Reference:
    """An exception that the API took in with these keys, taken from the outbox as by a dispatcher."""
    engine = open_engine(settings.database_url, Role.APPLICATION, 1, sealing=sealing)
    exception_id, body = new_id(), sample("internal")
    item = NewException(str(exception_id), NOBODYS_LANE, str(uuid4()), "test", body["rawPayload"])
    item.exception_type = body["exceptionType"]
    with unit_of_work(engine, [tenant.tenant_id]) as transaction:
        Ingestion(transaction, tenant.tenant_id, datetime.now(UTC)).accept([item])
        transaction.run("DELETE FROM outbox WHERE exception_id = %(id)s", {"id": str(exception_id)})
    engine.dispose()
    return Reference(tenant.tenant_id, exception_id, 1)


def change(settings: Settings, reference: Reference, statement: str) -> None:
    """Change what is stored of an exception, as only somebody with access to the database can."""
    engine = open_engine(settings.database_url, Role.APPLICATION, 1)
    with unit_of_work(engine, [reference.tenant_id]) as transaction:
        transaction.run(statement, {"id": str(reference.exception_id)})
    engine.dispose()


def spoil(settings: Settings, reference: Reference) -> None:
    """Change one byte of a payload."""
    change(
        settings,
        reference,
        """UPDATE exceptions SET sealed_payload = set_byte(sealed_payload, length(sealed_payload) - 1,
                  get_byte(sealed_payload, length(sealed_payload) - 1) # 1) WHERE exception_id = %(id)s""",
    )


def facts(system: Engine, exception_id: UUID) -> dict[str, Any]:
    """Status, and the last event's type and data."""
    with unit_of_work(system) as transaction:
        (row,) = transaction.rows("SELECT status FROM exceptions WHERE exception_id = %(i)s", {"i": str(exception_id)})
        statement = "SELECT type, data FROM events WHERE exception_id = %(i)s ORDER BY position DESC LIMIT 1"
        (event,) = transaction.rows(statement, {"i": str(exception_id)})
    return {"status": row.status, "type": event.type, "data": event.data}


def test_at_a_stage_that_decides(migrated: Settings, pipeline: Pipeline, system: Engine, tenant: TestTenant) -> None:
    # given a batch with a good payload, a changed one, and one under a key that this worker does not have
    sealing = Sealing([OURS])
    good, changed = posted(migrated, tenant, sealing), posted(migrated, tenant, sealing)
    foreign = posted(migrated, tenant, Sealing([LOST]))
    spoil(migrated, changed)
    # when it is worked
    result = pipeline.run(Stage.INTAKE, Batch((good, changed, foreign)))
    # then the good one goes on, the changed one is given up, and the other is tried again
    assert [one.exception_id for one in result.survivors] == [good.exception_id]
    dead = facts(system, changed.exception_id)
    assert (dead["status"], dead["type"], dead["data"]["errorClass"]) == ("DEAD_LETTERED", "DeadLettered", "SealBroken")
    assert [retry.reference for retry in result.retries] == [foreign]
    assert "'lost'" in str(result.retries[0].error)


def on_their_way(pipeline: Pipeline, settings: Settings, tenant: TestTenant) -> tuple[Reference, Reference]:
    """Two exceptions that are due at the tool stage."""
    batch = posted(settings, tenant, Sealing([OURS])), posted(settings, tenant, Sealing([OURS]))
    for stage in (Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK):
        pipeline.run(stage, Batch(batch))
    return batch


def test_at_the_tool_stage(migrated: Settings, pipeline: Pipeline, system: Engine, tenant: TestTenant) -> None:
    # given two exceptions on their way to a tool, one of which is changed in the database
    batch = on_their_way(pipeline, migrated, tenant)
    spoil(migrated, batch[0])
    # when the tool stage works them
    pipeline.run(Stage.TOOL, Batch(batch))
    # then only that one is given up
    assert facts(system, batch[0].exception_id)["data"]["errorClass"] == "SealBroken"
    assert facts(system, batch[1].exception_id)["status"] == "RESOLVED"


def test_a_plan_that_cannot_be_read_fails_its_exception_only(
    migrated: Settings, pipeline: Pipeline, system: Engine, tenant: TestTenant
) -> None:
    # given two exceptions on their way to a tool, one of which has a plan that is not one
    batch = on_their_way(pipeline, migrated, tenant)
    change(
        migrated,
        batch[0],
        """INSERT INTO plans (plan_id, tenant_id, exception_id, sequence, playbook, document,
                              domain_version, tenant_version, created_at)
           SELECT gen_random_uuid(), tenant_id, exception_id, sequence + 1, playbook, '{}',
                  domain_version, tenant_version, created_at FROM plans WHERE exception_id = %(id)s""",
    )
    # when the tool stage works them
    pipeline.run(Stage.TOOL, Batch(batch))
    # then only that one is given up
    assert facts(system, batch[0].exception_id)["data"]["errorClass"] == "PlanUnreadable"
    assert facts(system, batch[1].exception_id)["status"] == "RESOLVED"


def test_an_exception_whose_packs_are_gone_fails_alone(
    migrated: Settings, pipeline: Pipeline, system: Engine, tenant: TestTenant
) -> None:
    # given two exceptions on their way to a tool, one of which was decided with packs that nobody has
    batch = on_their_way(pipeline, migrated, tenant)
    change(migrated, batch[0], "UPDATE exceptions SET domain_version = 99 WHERE exception_id = %(id)s")
    # when the tool stage works them
    pipeline.run(Stage.TOOL, Batch(batch))
    # then only that one is given up
    assert facts(system, batch[0].exception_id)["status"] == "DEAD_LETTERED"
    assert facts(system, batch[1].exception_id)["status"] == "RESOLVED"
