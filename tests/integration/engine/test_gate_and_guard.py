"""The engine on a real database: the guard against zombies, the gate between inputs, the fence of a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from service.dispatch.lanes import LaneLeases
from service.domain.events import EventType
from service.domain.exceptions import InputType, Stage
from service.engine import reconciliation
from service.engine.batch import Batch, Reference
from service.engine.pipeline import Pipeline
from service.persistence.database import Role, open_engine
from service.persistence.ingestion import Ingestion, NewException, NewInput
from service.persistence.sealing import Sealing
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from service.wiring import build_pipeline, new_id
from tests.integration.verdicts import broken_promises
from tests.tenants import TestTenant, new_tenant, sample

pytestmark = pytest.mark.stack

LANE = 251
"""A lane that no running dispatcher serves."""


@pytest.fixture(autouse=True)
def an_empty_lane(system: Engine) -> Iterator[None]:
    yield
    with unit_of_work(system) as transaction:
        transaction.run("DELETE FROM outbox WHERE lane = %(lane)s", {"lane": LANE})


@pytest.fixture
def application(migrated: Settings) -> Iterator[Engine]:
    engine = open_engine(migrated.database_url, Role.APPLICATION, pool_size=2, sealing=Sealing())
    yield engine
    engine.dispose()


@pytest.fixture
def pipeline(migrated: Settings, tool_server_url: str) -> Iterator[Pipeline]:
    settings = migrated.model_copy(update={"pack_variables": {"toolServerUrl": tool_server_url}})
    built = build_pipeline(settings)
    yield built
    built.close()


@pytest.fixture
def tenant(system: Engine) -> TestTenant:
    return new_tenant(system)


def accept(
    engine: Engine, tenant: TestTenant, name: str = "internal", *, taken: bool = True, **payload: Any
) -> Reference:
    """Take an exception in, as the API does, in a lane of its own; `taken` from the outbox as by a dispatcher."""
    body = sample(name, **payload)
    exception_id = new_id()
    item = NewException(
        str(exception_id),
        LANE,
        str(uuid4()),
        body["sourceSystem"],
        body["rawPayload"],
        exception_type=body["exceptionType"],
        entity=body.get("entity"),
        occurred_at=datetime.now(UTC),
    )
    with unit_of_work(engine, [tenant.tenant_id]) as transaction:
        Ingestion(transaction, tenant.tenant_id, datetime.now(UTC)).accept([item])
    if taken:
        take_from_outbox(engine, tenant, exception_id)
    return Reference(tenant.tenant_id, exception_id, 1)


def take_from_outbox(engine: Engine, tenant: TestTenant, exception_id: UUID) -> None:
    with unit_of_work(engine, [tenant.tenant_id]) as transaction:
        transaction.run("DELETE FROM outbox WHERE exception_id = %(id)s AND ready", {"id": str(exception_id)})


def update(engine: Engine, tenant: TestTenant, reference: Reference) -> int:
    """A later input, as the API accepts it; its sequence."""
    new = NewInput(InputType.UPDATED, {"rawPayload": {"lastPrice": 1}}, EventType.EXCEPTION_UPDATED, {}, None)
    with unit_of_work(engine, [tenant.tenant_id]) as transaction:
        ingestion = Ingestion(transaction, tenant.tenant_id, datetime.now(UTC))
        locked = ingestion.lock(reference.exception_id)
        assert locked is not None
        return ingestion.append(locked, new)


def row(engine: Engine, reference: Reference) -> Any:
    with unit_of_work(engine) as transaction:
        statement = "SELECT status, sequence, stage, position FROM exceptions WHERE exception_id = %(id)s"
        return transaction.rows(statement, {"id": str(reference.exception_id)})[0]


def outbox(engine: Engine, reference: Reference) -> list[tuple[int, bool]]:
    with unit_of_work(engine) as transaction:
        statement = "SELECT sequence, ready FROM outbox WHERE exception_id = %(id)s ORDER BY sequence"
        return [tuple(r) for r in transaction.rows(statement, {"id": str(reference.exception_id)})]


def work(pipeline: Pipeline, reference: Reference, stages: list[Stage]) -> None:
    for stage in stages:
        pipeline.run(stage, Batch.single(reference))


def test_a_second_delivery_of_any_stage_changes_nothing(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception that has been worked to its end
    reference = accept(application, tenant)
    work(pipeline, reference, list(Stage))
    before = row(system, reference)
    assert before.status == "RESOLVED"
    # when a zombie delivers every stage once more
    work(pipeline, reference, list(Stage))
    # then the row and the log are as they were
    assert row(system, reference) == before
    with unit_of_work(system) as transaction:
        assert broken_promises(transaction, tenant.tenant_id) == {}


@pytest.mark.parametrize(("stage", "sequence"), [(Stage.INTAKE, 1), (Stage.TOOL, 1), (Stage.TRIAGE, 2)])
def test_a_zombie_that_decided_long_ago_cannot_write(
    stage: Stage, sequence: int, pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception at triage of its first input
    reference = accept(application, tenant)
    work(pipeline, reference, [Stage.INTAKE])
    before = row(system, reference)
    # when somebody applies a decision that was made for another position, past every check but the statement's own
    event = ("ExceptionResolved", {})
    decision = {"id": reference.exception_id, "sequence": sequence, "attempt": 0, "event_count": 1, "events": [event]}
    with unit_of_work(application, [tenant.tenant_id]) as transaction:
        moved = StageRepository(transaction).apply(stage, [decision | {"finished": "RESOLVED"}], datetime.now(UTC))
    # then it moves nothing and leaves no event
    assert moved == []
    assert row(system, reference) == before


def test_a_delivery_that_is_behind_is_carried_to_where_the_row_is(
    pipeline: Pipeline, application: Engine, tenant: TestTenant
) -> None:
    # given an exception whose intake is done, but whose chain was lost before the next link
    reference = accept(application, tenant)
    work(pipeline, reference, [Stage.INTAKE])
    # when intake is delivered again
    result = pipeline.run(Stage.INTAKE, Batch.single(reference))
    # then nothing is done, and the chain goes on to the stage that is due
    assert result.survivors == (reference,)


def test_one_bad_exception_does_not_hold_up_its_batch(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given a batch in which one exception lacks what its entity requires
    good = [accept(application, tenant) for _ in range(5)]
    bad = accept(application, tenant, "approval", accountId=None)
    # when the batch is worked
    result = pipeline.run(Stage.INTAKE, Batch((*good[:2], bad, *good[2:])))
    # then the others go on and the one is dead-lettered with the reason
    assert {r.exception_id for r in result.survivors} == {r.exception_id for r in good}
    assert row(system, bad).status == "DEAD_LETTERED"
    with unit_of_work(system) as transaction:
        statement = "SELECT message FROM dead_letters WHERE exception_id = %(id)s"
        assert "accountId" in transaction.rows(statement, {"id": str(bad.exception_id)})[0].message


def test_a_later_input_waits_until_its_predecessor_is_finished(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception at triage, and an update that comes in meanwhile
    reference = accept(application, tenant)
    work(pipeline, reference, [Stage.INTAKE])
    assert update(application, tenant, reference) == 2
    # then the update is not ready
    assert outbox(system, reference) == [(2, False)]
    # and one that arrives all the same is early, and changes nothing
    early = Reference(reference.tenant_id, reference.exception_id, 2)
    before = row(system, reference)
    assert len(pipeline.run(Stage.INTAKE, Batch.single(early)).retries) == 1
    assert row(system, reference) == before
    # when the first input is finished
    work(pipeline, reference, [Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK, Stage.TOOL])
    # then the update is the one being worked
    assert outbox(system, reference) == [(2, True)]
    assert (row(system, reference).sequence, row(system, reference).stage) == (2, Stage.INTAKE)


def test_a_dead_letter_fences_its_exception(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given a dead-lettered exception
    reference = accept(application, tenant, "approval", accountId=None)
    work(pipeline, reference, [Stage.INTAKE])
    assert row(system, reference).status == "DEAD_LETTERED"
    # when an update comes in and the dead delivery comes again
    update(application, tenant, reference)
    work(pipeline, reference, [Stage.INTAKE])
    # then the update waits, and nothing has moved
    assert outbox(system, reference) == [(2, False)]
    assert (row(system, reference).status, row(system, reference).sequence) == ("DEAD_LETTERED", 1)


def test_the_reconciler_finds_what_was_lost_and_leaves_what_waits(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception whose chain was lost after intake, one in the outbox, and one that waits for a person
    stuck, waiting = accept(application, tenant), accept(application, tenant, "approval")
    work(pipeline, stuck, [Stage.INTAKE])
    work(pipeline, waiting, [Stage.INTAKE, Stage.TRIAGE, Stage.POLICY])
    # when the reconciler looks at once, nothing is due
    now = datetime.now(UTC)
    reconciliation.reconcile(system, after_seconds=30, now=now)
    assert outbox(system, stuck) == []
    # when it has missed them for half a minute
    reconciliation.reconcile(system, after_seconds=30, now=now + timedelta(seconds=15))
    reconciliation.reconcile(system, after_seconds=30, now=now + timedelta(minutes=1))
    # then the lost one is ready again from the stage it is at, and the waiting one is left alone
    assert outbox(system, stuck) == [(1, True)]
    assert outbox(system, waiting) == []


def test_work_in_a_lane_that_nobody_serves_is_moved_to_one_that_is(
    system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception whose lane no dispatcher knows, as after the API alone was told of more lanes
    LaneLeases(system, "nobody", 1.0).ensure(2)
    reference = accept(application, tenant, taken=False)
    # when the reconciler looks a minute later
    reconciliation.reconcile(system, after_seconds=30, now=datetime.now(UTC) + timedelta(minutes=1))
    # then the work is in a lane that is served
    with unit_of_work(system) as transaction:
        statement = "SELECT lane FROM outbox WHERE exception_id = %(id)s"
        lanes = [row.lane for row in transaction.rows(statement, {"id": str(reference.exception_id)})]
    assert lanes in ([0], []), "a dispatcher of another test may have taken it already"


def test_a_reference_under_another_tenant_s_name_finds_nothing(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception of one tenant and a message that names it under another
    reference = accept(application, tenant)
    stranger = new_tenant(system)
    forged = Reference(stranger.tenant_id, reference.exception_id, 1)
    before = row(system, reference)
    # when it is delivered, alone or beside the stranger's own work
    own = accept(application, stranger)
    result = pipeline.run(Stage.INTAKE, Batch((forged, own)))
    # then only the stranger's own work is done
    assert [r.exception_id for r in result.survivors] == [own.exception_id]
    assert row(system, reference) == before
