"""Timers on a real database: fired once whoever looks, never lost, and never in the way of others.

Everything here is due in half a year, when only the dispatchers of these tests look.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine

from service.api import acceptance, create_app
from service.dispatch.timers import AT_ONCE, Timers
from service.persistence.database import Role, open_engine
from service.persistence.sealing import Sealing
from service.persistence.statements import timers as sql
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.integration.api.world import Tenant, World

pytestmark = pytest.mark.stack

LANE = 249
"""A lane that no running dispatcher serves."""
DUE = datetime.now(UTC).replace(microsecond=0) + timedelta(days=180)
"""The event log has partitions until then."""
PATIENCE_SECONDS = 60

_PLAN = """
INSERT INTO plans (plan_id, tenant_id, exception_id, sequence, playbook, document, domain_version, tenant_version,
                   created_at)
VALUES (%(plan)s, %(tenant)s, %(id)s, %(sequence)s, 'p', '{}', 1, 1, now())
"""
_TIMER = """
INSERT INTO timers (exception_id, kind, step, tenant_id, plan_id, due_at)
VALUES (%(id)s, %(kind)s, %(step)s, %(tenant)s, %(plan)s, %(due)s)
"""
_REST = """
UPDATE exceptions SET stage = %(stage)s, status = %(status)s, resting_status = %(status)s WHERE exception_id = %(id)s
"""
_STEP = """
INSERT INTO plan_steps (plan_id, step, tenant_id, state) VALUES (%(plan)s, %(step)s, %(tenant)s, %(state)s)
"""
_ASK = """
INSERT INTO approvals (exception_id, sequence, tenant_id, state, reason, requested_at, plan_hash, due_at)
VALUES (%(id)s, 1, %(tenant)s, %(state)s, 'severity HIGH', now(), 'abc', %(due)s)
"""


@dataclass(frozen=True)
class Yard:
    """Exceptions of one tenant that wait for timers, and the dispatchers that fire them."""

    world: World
    tenant: Tenant

    def waiting(self, status: str = "WAITING", stage: int = 5, **timer: Any) -> UUID:
        """An exception that waits at step 2 of its plan, with the timer for it."""
        exception_id = UUID(self.world.caller(self.tenant).accepted())
        self.write("DELETE FROM outbox WHERE exception_id = %(id)s", exception_id)
        self.write(_REST, exception_id, status=status, stage=stage)
        self.write(_PLAN, exception_id, sequence=1, plan=plan_of(exception_id))
        self.timer(exception_id, **timer)
        return exception_id

    def timer(self, exception_id: UUID, kind: str = "wait", step: str = "2", due: datetime = DUE) -> None:
        self.write(_TIMER, exception_id, kind=kind, step=step, due=due, plan=plan_of(exception_id))

    def write(self, statement: str, exception_id: UUID, **parameters: Any) -> None:
        given = {"id": str(exception_id), "tenant": self.tenant.tenant_id, **parameters}
        self.world.as_engine(self.tenant, lambda transaction: transaction.run(statement, given))

    def fire(self, now: datetime = DUE) -> int:
        """One dispatcher's look."""
        return Timers(self.world.system, lambda: now)()

    def rows(self, statement: str, exception_id: UUID) -> list[tuple[Any, ...]]:
        with unit_of_work(self.world.system) as transaction:
            return [tuple(row) for row in transaction.rows(statement, {"id": str(exception_id)})]

    def inputs(self, exception_id: UUID) -> list[tuple[Any, ...]]:
        """(sequence, type, actor) of the exception's later inputs."""
        return self.rows(
            "SELECT sequence, type, actor FROM inputs WHERE exception_id = %(id)s ORDER BY sequence", exception_id
        )

    def outbox(self, exception_id: UUID) -> list[tuple[Any, ...]]:
        """(sequence, stage, ready) of its outbox rows."""
        return self.rows(
            "SELECT sequence, stage, ready FROM outbox WHERE exception_id = %(id)s ORDER BY sequence", exception_id
        )

    def state(self, exception_id: UUID) -> tuple[Any, ...]:
        """(status, sequence, last_sequence, stage)."""
        (row,) = self.rows(
            "SELECT status, sequence, last_sequence, stage FROM exceptions WHERE exception_id = %(id)s", exception_id
        )
        return row

    def timers(self, exception_id: UUID) -> list[tuple[Any, ...]]:
        return self.rows("SELECT kind, step FROM timers WHERE exception_id = %(id)s", exception_id)


def plan_of(exception_id: UUID) -> str:
    return str(UUID(int=exception_id.int ^ 1))


@pytest.fixture
def yard(migrated: Settings, system: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setattr(acceptance, "lane_of", lambda *_: LANE)
    application = open_engine(migrated.database_url, Role.APPLICATION, pool_size=2, sealing=Sealing())
    world = World(create_app(migrated).test_client(), system, application)
    yield Yard(world, world.tenant())
    application.dispose()
    with unit_of_work(system) as transaction:
        transaction.run("DELETE FROM outbox WHERE lane = %(lane)s", {"lane": LANE})
        transaction.run("DELETE FROM timers WHERE due_at >= %(due)s", {"due": DUE - timedelta(days=1)})


def test_a_timer_that_is_due_wakes_its_exception(yard: Yard) -> None:
    # given two exceptions that wait, one of them longer
    soon, later = yard.waiting(), yard.waiting(due=DUE + timedelta(seconds=2))
    # when a dispatcher looks at the time of the first
    yard.fire()
    # then its exception is worked at once, from the playbook stage on
    assert yard.inputs(soon) == [(2, "step_due", "timer")]
    assert yard.outbox(soon) == [(2, 3, True)]
    assert yard.state(soon) == ("IN_PROGRESS", 2, 2, 3)
    assert yard.timers(soon) == []
    # and its timeline tells of it
    ((kind, data),) = yard.rows("SELECT type, data FROM events WHERE exception_id = %(id)s AND position = 2", soon)
    assert (kind, data["type"], data["step"], data["planId"]) == ("ExceptionUpdated", "step_due", "2", plan_of(soon))
    # and the other waits
    assert (yard.inputs(later), yard.timers(later)) == ([], [("wait", "2")])
    yard.fire(DUE + timedelta(seconds=2))
    assert yard.inputs(later) == [(2, "step_due", "timer")]


def test_two_dispatchers_do_not_fire_one_timer_twice_and_a_crash_loses_none(yard: Yard) -> None:
    # given more timers than are fired at once, and a dispatcher that has fired the first and not committed
    waiting = [yard.waiting() for _ in range(5)]
    with ThreadPoolExecutor(1) as others, yard.world.system.connect() as first:
        first.exec_driver_sql(sql.FIRE, {"now": DUE, "limit": AT_ONCE, "paused": []})
        # when another looks meanwhile, then it does not wait for the first
        late = yard.waiting()
        others.submit(yard.fire).result(timeout=PATIENCE_SECONDS)
        # and fires only what the first did not
        assert [yard.inputs(one) for one in waiting] == [[]] * 5
        assert len(yard.inputs(late)) == 1
        # when the first dies
        first.rollback()
    # then every timer is still there, and fired by the next look
    assert all(yard.timers(one) for one in waiting)
    yard.fire()
    yard.fire()
    assert [len(yard.inputs(one)) for one in [*waiting, late]] == [1] * 6


def test_dispatchers_that_look_at_the_same_moment_share_the_timers(yard: Yard) -> None:
    # given many timers
    waiting = [yard.waiting() for _ in range(60)]
    # when four dispatchers look again and again
    with ThreadPoolExecutor(4) as dispatchers:
        looks = [dispatchers.submit(yard.fire) for _ in range(12)]
        fired = sum(look.result(timeout=PATIENCE_SECONDS) for look in looks)
    # then each timer was fired once
    assert [len(yard.inputs(one)) for one in waiting] == [1] * 60
    assert fired == 60


def test_an_exception_that_is_being_worked_holds_up_nobodys_timers(yard: Yard) -> None:
    # given an exception that a stage has locked, with the earliest timer, and another
    locked, other = yard.waiting(due=DUE - timedelta(hours=1)), yard.waiting()
    with ThreadPoolExecutor(1) as dispatcher, yard.world.application.connect() as stage:
        stage.exec_driver_sql("SELECT set_config('app.tenants', %s, true)", (yard.tenant.tenant_id,))
        stage.exec_driver_sql("SELECT 1 FROM exceptions WHERE exception_id = %(id)s FOR UPDATE", {"id": str(locked)})
        # when a dispatcher looks, then it fires the other's and leaves the locked one for later
        dispatcher.submit(yard.fire).result(timeout=PATIENCE_SECONDS)
        assert len(yard.inputs(other)) == 1
        assert yard.timers(locked) == [("wait", "2")]
        stage.rollback()
    yard.fire()
    assert len(yard.inputs(locked)) == 1


def test_what_is_due_while_an_exception_is_worked_waits_for_its_turn(yard: Yard) -> None:
    # given an exception at the tool stage, and two of its timers due
    worked = yard.waiting("IN_PROGRESS", stage=4)
    yard.timer(worked, "step_timeout", "3")
    # when they fire
    assert yard.fire() == 2
    # then each has a sequence, none is ready, and the row has not moved
    assert [row[:2] for row in yard.inputs(worked)] == [(2, "step_due"), (3, "step_due")]
    assert yard.outbox(worked) == [(2, 3, False), (3, 3, False)]
    assert yard.state(worked) == ("IN_PROGRESS", 1, 3, 4)


def test_of_two_timers_of_one_exception_at_rest_the_earlier_is_worked_first(yard: Yard) -> None:
    waiting = yard.waiting()
    yard.timer(waiting, "step_timeout", "3", DUE - timedelta(seconds=1))
    yard.fire()
    assert yard.outbox(waiting) == [(2, 3, True), (3, 3, False)]
    data = yard.rows("SELECT data ->> 'step' FROM inputs WHERE exception_id = %(id)s ORDER BY sequence", waiting)
    assert data == [("3",), ("2",)]


@pytest.mark.parametrize("status", ["RESOLVED", "ESCALATED", "CANCELLED", "DISCARDED"])
def test_a_timer_of_what_has_ended_wakes_nobody(yard: Yard, status: str) -> None:
    ended = yard.waiting(status)
    assert yard.fire() == 0
    assert (yard.inputs(ended), yard.timers(ended), yard.state(ended)[0]) == ([], [], status)


def test_a_timer_of_a_plan_that_was_replaced_wakes_nobody(yard: Yard) -> None:
    waiting = yard.waiting()
    yard.write(_PLAN, waiting, sequence=2, plan=str(uuid4()))
    assert yard.fire() == 0
    assert (yard.inputs(waiting), yard.timers(waiting)) == ([], [])


@pytest.mark.parametrize(("state", "fired"), [("done", 0), ("failed", 0), ("skipped", 0), ("started", 1)])
def test_a_timer_of_a_step_that_is_over_wakes_nobody(yard: Yard, state: str, fired: int) -> None:
    waiting = yard.waiting()
    yard.write(_STEP, waiting, plan=plan_of(waiting), step="2", state=state)
    assert yard.fire() == fired
    assert yard.timers(waiting) == []


def test_an_approval_that_nobody_gave_in_time_expires(yard: Yard) -> None:
    # given an approval whose time is over, and one that was given in time
    forgotten = yard.waiting("PENDING_APPROVAL", kind="approval", step="")
    yard.write(_ASK, forgotten, state="pending", due=DUE)
    given = yard.waiting("PENDING_APPROVAL", kind="approval", step="")
    yard.write(_ASK, given, state="approved", due=DUE)
    # when the timers fire
    yard.fire()
    # then nobody can give the first any more, and policy decides what becomes of the exception
    assert yard.rows("SELECT state FROM approvals WHERE exception_id = %(id)s", forgotten) == [("expired",)]
    assert yard.inputs(forgotten) == [(2, "approval_expired", "timer")]
    assert yard.outbox(forgotten) == [(2, 2, True)]
    # and the second is left alone
    assert (yard.inputs(given), yard.timers(given)) == ([], [])
