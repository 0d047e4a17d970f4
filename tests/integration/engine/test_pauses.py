"""Pauses on a real database: what they stop waits with its reason, nothing is lost, and it goes on when they end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from service.dispatch.dispatcher import take
from service.dispatch.held import HeldWork
from service.domain.exceptions import Stage
from service.domain.pauses import Pause, Scope
from service.engine.batch import Batch, Reference
from service.engine.pausing import LOOK_SECONDS, PauseWatch
from service.engine.pipeline import Pipeline
from service.engine.reconciliation import reconcile
from service.persistence import pauses
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from service.wiring import build_pipeline, new_id
from tests.client import wait_for
from tests.integration.engine.test_gate_and_guard import (
    LANE,
    accept,
    an_empty_lane,
    application,
    outbox,
    row,
    take_from_outbox,
    tenant,
    update,
    work,
)
from tests.integration.verdicts import broken_promises
from tests.tenants import TestTenant, new_tenant

__all__ = ["an_empty_lane", "application", "tenant"]

pytestmark = pytest.mark.stack

TO_TOOL = [Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK]
REASON = "their ERP sends everything twice"


@pytest.fixture
def pipeline(migrated: Settings, tool_server_url: str) -> Iterator[Pipeline]:
    settings = migrated.model_copy(update={"pack_variables": {"toolServerUrl": tool_server_url}})
    built = build_pipeline(settings)
    yield built
    built.close()


@pytest.fixture(autouse=True)
def nothing_stays_paused(system: Engine) -> Iterator[None]:
    yield
    with unit_of_work(system) as transaction:
        for pause in pauses.in_force(transaction).pauses:
            pauses.resume(transaction, pause.pause_id, "test", "the test is over")


def throw(system: Engine, scope: Scope, **what: Any) -> Pause:
    with unit_of_work(system) as transaction:
        return pauses.pause(transaction, new_id(), pauses.NewPause(scope, REASON, "ann", **what))


def end(system: Engine, pause: Pause) -> None:
    with unit_of_work(system) as transaction:
        pauses.resume(transaction, pause.pause_id, "bob", "mended")


def hold(system: Engine, reference: Reference) -> Any:
    with unit_of_work(system) as transaction:
        statement = """
            SELECT e.hold_reason, e.attempt, o.ready, o.due_at, o.pause_id, o.attempt AS next_attempt
              FROM exceptions e JOIN outbox o USING (exception_id, sequence) WHERE exception_id = %(id)s"""
        return transaction.rows(statement, {"id": str(reference.exception_id)})[0]


def held_events(system: Engine, reference: Reference) -> list[dict[str, Any]]:
    with unit_of_work(system) as transaction:
        statement = "SELECT data FROM events WHERE exception_id = %(id)s AND type = 'ExceptionHeld'"
        return [r.data for r in transaction.rows(statement, {"id": str(reference.exception_id)})]


def taken(system: Engine) -> set[Any]:
    """What a dispatcher takes from the tests' lane, knowing what is paused."""
    with unit_of_work(system) as transaction:
        return {r.exception_id for r in take(transaction, LANE, 100, pauses.in_force(transaction))}


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("scope", [Scope.TENANT, Scope.STAGE])
def test_what_was_under_way_is_held_at_its_next_stage_and_the_rest_of_the_batch_goes_on(
    scope: Scope, stage: Stage, pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given a batch of two tenants at a stage, and a pause that means one of them there
    other = new_tenant(system)
    paused, free = accept(application, tenant), accept(application, other)
    for reference in (paused, free):
        work(pipeline, reference, [s for s in Stage if s < stage])
    pause = throw(system, scope, tenant_id=tenant.tenant_id, **({"stage": stage} if scope is Scope.STAGE else {}))
    # when it is worked once the process knows
    look_again(pipeline)
    pipeline.run(stage, Batch((replace(paused, attempt=2), free), LANE, "batch"))
    # then the one waits in the outbox with its reason, and has spent no attempt
    waiting = hold(system, paused)
    assert (waiting.ready, waiting.due_at, waiting.pause_id) == (False, None, pause.pause_id)
    assert waiting.hold_reason == pause.sentence and REASON in waiting.hold_reason
    assert (row(system, paused).stage, waiting.next_attempt) == (stage, 2)
    (event,) = held_events(system, paused)
    assert (event["reason"], event["pauseId"]) == (pause.sentence, str(pause.pause_id))
    # and the other went on
    assert row(system, free).stage > stage
    # when held work is looked after while it is paused, it stays
    HeldWork(system)()
    assert outbox(system, paused) == [(1, False)]
    # when the pause is over
    end(system, pause)
    HeldWork(system)()
    # then it is ready at once, as the attempt it was, and comes to its end
    assert outbox(system, paused) == [(1, True)]
    assert hold(system, paused).next_attempt == 2
    take_from_outbox(application, tenant, paused.exception_id)
    look_again(pipeline)
    work(pipeline, paused, list(Stage))
    assert row(system, paused).status == "RESOLVED"
    with unit_of_work(system) as transaction:
        assert broken_promises(transaction, tenant.tenant_id) == {}


@pytest.mark.parametrize("of_everybody", [False, True])
def test_a_paused_tool_is_not_called_and_its_exceptions_wait(
    of_everybody: bool, pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception before its call, and a pause of the tool
    reference = accept(application, tenant, "straight")
    work(pipeline, reference, TO_TOOL)
    pause = throw(system, Scope.TOOL, tool="retrySettlement", tenant_id=None if of_everybody else tenant.tenant_id)
    look_again(pipeline)
    # when it is worked
    work(pipeline, reference, [Stage.TOOL])
    # then nothing went out
    assert hold(system, reference).pause_id == pause.pause_id
    with unit_of_work(system) as transaction:
        statement = "SELECT count(*) FROM tool_executions WHERE exception_id = %(id)s"
        assert transaction.rows(statement, {"id": str(reference.exception_id)})[0][0] == 0
    # when the tool is called again
    end(system, pause)
    HeldWork(system)()
    take_from_outbox(application, tenant, reference.exception_id)
    look_again(pipeline)
    work(pipeline, reference, [Stage.TOOL])
    # then the exception comes to its end, by one call
    assert row(system, reference).status == "RESOLVED"


def test_a_pause_of_another_tenant_s_tool_stops_nothing(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    other = new_tenant(system)
    throw(system, Scope.TOOL, tool="retrySettlement", tenant_id=other.tenant_id)
    throw(system, Scope.TENANT, tenant_id=other.tenant_id)
    look_again(pipeline)
    reference = accept(application, tenant, "straight")
    work(pipeline, reference, list(Stage))
    assert row(system, reference).status == "RESOLVED"


def test_a_dispatcher_leaves_what_is_paused_and_takes_the_others(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given work of two tenants in one lane, and some of the first that is beyond intake
    other = new_tenant(system)
    new, others = accept(application, tenant, taken=False), accept(application, other, taken=False)
    later = accept(application, tenant)
    work(pipeline, later, [Stage.INTAKE])
    _ready(application, later, Stage.TRIAGE)
    # when the tenant is paused, only the other's is taken
    pause = throw(system, Scope.TENANT, tenant_id=tenant.tenant_id)
    assert taken(system) == {others.exception_id}
    end(system, pause)
    # when intake is paused, only what is beyond it is taken; and when only triage is, only what is not at it
    pause = throw(system, Scope.STAGE, stage=Stage.INTAKE)
    assert taken(system) == {later.exception_id}
    end(system, pause)
    _ready(application, later, Stage.TRIAGE)
    pause = throw(system, Scope.STAGE, stage=Stage.TRIAGE)
    assert taken(system) == {new.exception_id}
    end(system, pause)
    # and so for one tenant
    newer = accept(application, tenant, taken=False)
    pause = throw(system, Scope.STAGE, stage=Stage.TRIAGE, tenant_id=tenant.tenant_id)
    assert taken(system) == {newer.exception_id}
    # and when nothing is, the rest
    end(system, pause)
    assert taken(system) == {later.exception_id}


def test_a_pause_ends_by_itself(system: Engine, application: Engine, tenant: TestTenant, pipeline: Pipeline) -> None:
    # given an exception that is held by a pause which ends in a moment
    reference = accept(application, tenant)
    until = datetime.now(UTC) + timedelta(seconds=2)
    throw(system, Scope.TENANT, tenant_id=tenant.tenant_id, until=until)
    look_again(pipeline)
    work(pipeline, reference, [Stage.INTAKE])
    assert outbox(system, reference) == [(1, False)]
    assert datetime.fromisoformat(held_events(system, reference)[0]["heldUntil"]) == until

    # then it is ready soon after, and nobody had to do anything
    def woken() -> bool:
        HeldWork(system)()
        return outbox(system, reference) == [(1, True)]

    wait_for(woken, 10)


def test_the_reconciler_does_not_take_what_is_paused_for_lost(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception that is held, and one whose message is on its way to a stage that is paused
    held, on_its_way = accept(application, tenant), accept(application, tenant)
    pause = throw(system, Scope.TENANT, tenant_id=tenant.tenant_id)
    look_again(pipeline)
    work(pipeline, held, [Stage.INTAKE])
    # when the reconciler looks for long
    for seconds in (15, 50, 100):
        reconcile(system, 30, datetime.now(UTC) + timedelta(seconds=seconds))
    # then nothing happened
    assert (outbox(system, held), outbox(system, on_its_way)) == ([(1, False)], [])
    # and once it is not paused any more, what does not come is found
    end(system, pause)
    for seconds in (115, 150):
        reconcile(system, 30, datetime.now(UTC) + timedelta(seconds=seconds))
    assert outbox(system, on_its_way) == [(1, True)]
    with unit_of_work(system) as transaction:
        transaction.run("DELETE FROM suspects")


def test_what_comes_in_meanwhile_is_kept_in_order(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given a held exception to which an update comes
    reference = accept(application, tenant)
    pause = throw(system, Scope.TENANT, tenant_id=tenant.tenant_id)
    look_again(pipeline)
    work(pipeline, reference, [Stage.INTAKE])
    assert update(application, tenant, reference) == 2
    # then both wait, and after the pause only the first is ready
    assert outbox(system, reference) == [(1, False), (2, False)]
    end(system, pause)
    HeldWork(system)()
    assert outbox(system, reference) == [(1, True), (2, False)]


def test_a_process_looks_at_most_once_a_second_and_goes_on_by_what_it_saw(application: Engine, system: Engine) -> None:
    # given a process that has looked
    clock = [0.0]
    watch = PauseWatch(application, lambda: clock[0])
    before = watch()
    # when something is paused
    tenant = new_tenant(system)
    pause = throw(system, Scope.TENANT, tenant_id=tenant.tenant_id)
    # then it knows after a second, and not by a look for each batch
    assert watch() is before
    clock[0] = LOOK_SECONDS
    assert pause.pause_id in {p.pause_id for p in watch().pauses}
    assert watch() is watch()


def test_a_worker_sees_only_that_something_is_paused_now(application: Engine, system: Engine) -> None:
    # given what is over of a tenant
    tenant, stranger = new_tenant(system), new_tenant(system)
    pause = throw(system, Scope.TENANT, tenant_id=tenant.tenant_id)
    # then a stranger's transaction sees nothing of it, and one that serves everybody does
    with unit_of_work(application, [stranger.tenant_id]) as transaction:
        assert pauses.list_pauses(transaction, None, history=True, limit=10_000) == _for_everybody(system)
    with unit_of_work(application) as transaction:
        assert pause.pause_id in {p.pause_id for p in pauses.in_force(transaction, of_everybody=True).pauses}
    end(system, pause)
    with unit_of_work(application) as transaction:
        assert pause.pause_id not in {p.pause_id for p in pauses.in_force(transaction, of_everybody=True).pauses}


def _for_everybody(system: Engine) -> list[Pause]:
    with unit_of_work(system) as transaction:
        found = pauses.list_pauses(transaction, None, history=True, limit=10_000)
    return [pause for pause in found if pause.tenant_id is None]


def look_again(pipeline: Pipeline) -> None:
    """A second passes: the worker process looks once more at what is paused."""
    assert pipeline._paused is not None
    watch = pipeline._paused._watch
    assert isinstance(watch, PauseWatch)
    watch._look_at = float("-inf")


def _ready(application: Engine, reference: Reference, stage: Stage) -> None:
    with unit_of_work(application, [reference.tenant_id]) as transaction:
        transaction.run(
            "INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready) "
            "VALUES (%(id)s, 1, %(tenant)s, %(lane)s, %(stage)s, true)",
            {"id": str(reference.exception_id), "tenant": reference.tenant_id, "lane": LANE, "stage": int(stage)},
        )
