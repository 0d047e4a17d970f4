"""The reconciler on a real database: each sort of work that does not move is made by hand, found, and told of.

The reconciler's clock is an argument: time passes here by asking it to look at a later time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from service.dispatch.lanes import LaneLeases
from service.dispatch.upkeep import Chore, Upkeep
from service.domain.exceptions import Stage
from service.engine.batch import Reference
from service.engine.pipeline import Pipeline
from service.engine.reconciliation import Kind, Report, reconcile
from service.persistence import reconciliation as limits
from service.persistence.database import Role, open_engine
from service.persistence.deliveries import DeliveryJournal
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.client import wait_for
from tests.integration.engine.test_gate_and_guard import (
    LANE,
    accept,
    an_empty_lane,
    application,
    outbox,
    pipeline,
    row,
    take_from_outbox,
    tenant,
    update,
    work,
)
from tests.integration.verdicts import broken_promises
from tests.tenants import TestTenant, new_tenant

__all__ = ["an_empty_lane", "application", "pipeline", "tenant"]

pytestmark = pytest.mark.stack

AFTER = 30.0
TO_TOOL = [Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK]


def look(system: Engine, seconds_from_now: float) -> Report:
    return reconcile(system, AFTER, datetime.now(UTC) + timedelta(seconds=seconds_from_now))


def look_until_found(system: Engine) -> Report:
    """As a reconciler that looks every few seconds: at first it suspects, and within a minute it acts."""
    look(system, 12)
    return look(system, 45)


def told(system: Engine, reference: Reference) -> list[dict[str, Any]]:
    """What the timeline says the reconciler did."""
    with unit_of_work(system) as transaction:
        statement = "SELECT data FROM events WHERE exception_id = %(id)s AND type = 'Reconciled' ORDER BY position"
        return [r.data for r in transaction.rows(statement, {"id": str(reference.exception_id)})]


def causes(system: Engine, reference: Reference) -> list[str]:
    return [data["cause"] for data in told(system, reference)]


def change(application: Engine, reference: Reference, statement: str, **parameters: Any) -> None:
    with unit_of_work(application, [reference.tenant_id]) as transaction:
        transaction.run(statement, {"id": str(reference.exception_id), **parameters})


def actions(system: Engine, kind: Kind) -> int:
    with unit_of_work(system) as transaction:
        rows = transaction.rows("SELECT actions FROM reconciler_kinds WHERE kind = %(kind)s", {"kind": kind})
    return int(rows[0].actions) if rows else 0


def test_a_lost_message_is_sent_again_and_the_timeline_says_so(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception whose chain was lost after intake, as when a topic was deleted
    lost = accept(application, tenant)
    work(pipeline, lost, [Stage.INTAKE])
    before = actions(system, Kind.MESSAGE_LOST)
    # when the reconciler looks within a minute
    report = look_until_found(system)
    # then it is ready again from the stage it is at, and everybody can see why
    assert outbox(system, lost) == [(1, True)]
    (data,) = told(system, lost)
    assert data["cause"] == Kind.MESSAGE_LOST and 40 <= data["waitedSeconds"] <= 50
    assert report.made_ready[Kind.MESSAGE_LOST] >= 1
    assert actions(system, Kind.MESSAGE_LOST) > before
    # and when it is worked then, every promise is kept
    take_from_outbox(application, tenant, lost.exception_id)
    work(pipeline, lost, list(Stage))
    assert row(system, lost).status == "RESOLVED"
    with unit_of_work(system) as transaction:
        assert broken_promises(transaction, tenant.tenant_id) == {}


def test_what_a_dispatcher_took_a_moment_ago_is_not_suspected_for_its_long_wait(
    system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception that waited in the outbox for minutes, and was taken just now
    reference = accept(application, tenant, taken=False)
    look(system, 280)
    take_from_outbox(application, tenant, reference.exception_id)
    # when the reconciler looks
    look(system, 300)
    # then it is left alone: it has not been missed for long
    look(system, 320)
    assert outbox(system, reference) == []
    # but not for ever
    look(system, 335)
    assert outbox(system, reference) == [(1, True)]


def test_a_retry_whose_delayed_message_was_lost_comes_back_with_its_attempt(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception that is suspected, and then turns out to have its third attempt in two minutes
    reference = accept(application, tenant)
    work(pipeline, reference, [Stage.INTAKE])
    look(system, 12)
    retry_at = datetime.now(UTC) + timedelta(minutes=2)
    change(application, reference, "UPDATE exceptions SET attempt = 2, retry_at = %(at)s WHERE exception_id = %(id)s",
           at=retry_at)  # fmt: skip
    # when the reconciler looks before that
    look(system, 45)
    look(system, 119)
    # then it waits
    assert outbox(system, reference) == []
    # when the delayed message has not come for a while after
    look(system, 133)
    look(system, 170)
    # then it comes back, as the attempt it is
    assert causes(system, reference) == [Kind.RETRY_LOST]
    with unit_of_work(system) as transaction:
        (found,) = transaction.rows("SELECT attempt, ready FROM outbox WHERE exception_id = %(id)s",
                                    {"id": str(reference.exception_id)})  # fmt: skip
    assert (found.attempt, found.ready) == (2, True)


def test_an_effect_that_is_leased_is_left_alone_and_one_that_nobody_holds_is_not(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception that is suspected, and whose call then goes out, by the account of the effect ledger
    reference = accept(application, tenant, "straight")
    work(pipeline, reference, TO_TOOL)
    look(system, 12)
    change(application, reference, _SENT, tenant=reference.tenant_id, key=str(uuid4()),
           until=datetime.now(UTC) + timedelta(seconds=90))  # fmt: skip
    # when the reconciler looks while its delivery may still come to an answer
    look(system, 45)
    look(system, 85)
    assert outbox(system, reference) == []
    # when the lease is over
    look(system, 95)
    look(system, 130)
    # then it goes back to the tool stage, where the ledger's rule decides
    assert causes(system, reference) == [Kind.EFFECT_IN_DOUBT]
    assert outbox(system, reference) == [(1, True)]


def test_what_a_dead_process_waited_for_beside_its_deliveries_is_ready_at_once(
    pipeline: Pipeline, migrated: Settings, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given a process that handed a call to its landing, while it may still come to an answer
    reference = accept(application, tenant, "straight")
    work(pipeline, reference, TO_TOOL)
    session, key = f"sentinai worker {uuid4()}", str(uuid4())
    living = open_engine(migrated.database_url, Role.APPLICATION, pool_size=1, session_name=session)
    now = datetime.now(UTC)
    change(application, reference, _SENT, tenant=reference.tenant_id, key=key, until=now + timedelta(seconds=90))
    change(application, reference, "UPDATE tool_executions SET sent_at = %(now)s WHERE exception_id = %(id)s", now=now)
    DeliveryJournal(living, session).landing([reference.exception_id], now)
    # when the reconciler looks while the process lives, nothing happens
    look(system, 1)
    assert outbox(system, reference) == []
    # when the process is gone
    living.dispose()
    wait_for(lambda: not sessions(system, session), 10)
    look(system, 2)
    # then the call is judged again, long before its lease would have been over
    assert causes(system, reference) == [Kind.EFFECT_IN_DOUBT]
    assert outbox(system, reference) == [(1, True)]
    with unit_of_work(system) as transaction:
        (lease,) = transaction.rows("SELECT lease_until <= sent_at AS over FROM tool_executions"
                                    " WHERE idempotency_key = %(key)s", {"key": key})  # fmt: skip
    assert lease.over


def sessions(system: Engine, name: str) -> int:
    with unit_of_work(system) as transaction:
        statement = "SELECT FROM pg_stat_activity WHERE application_name = %(name)s"
        return len(transaction.rows(statement, {"name": name}))


def test_a_held_row_that_lost_its_time_is_ready_again(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception whose outbox row is neither ready nor due
    reference = accept(application, tenant, taken=False)
    change(application, reference, "UPDATE outbox SET ready = false WHERE exception_id = %(id)s")
    look_until_found(system)
    assert causes(system, reference) == [Kind.HOLD_LOST]
    assert outbox(system, reference) == [(1, True)]


@pytest.mark.parametrize("forgotten", ["UPDATE outbox SET ready = false", "DELETE FROM outbox"])
def test_an_input_whose_gate_was_not_opened_becomes_the_current_one(
    forgotten: str, pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an update that came in while its predecessor was worked, and whose gate stayed closed at the end
    reference = accept(application, tenant)
    work(pipeline, reference, [Stage.INTAKE])
    assert update(application, tenant, reference) == 2
    work(pipeline, reference, [Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK, Stage.TOOL])
    change(application, reference, f"{forgotten} WHERE exception_id = %(id)s AND sequence = 2")
    change(application, reference, _RESTING)
    # when the reconciler looks too early, nothing happens
    look(system, 20)
    assert row(system, reference).sequence == 1
    # when it looks later
    report = look(system, 40)
    # then the update is worked from its own stage on
    assert report.made_ready[Kind.GATE_CLOSED] >= 1
    assert causes(system, reference) == [Kind.GATE_CLOSED]
    assert outbox(system, reference) == [(2, True)]
    assert (row(system, reference).sequence, row(system, reference).stage) == (2, Stage.INTAKE)


def test_a_dead_letter_s_successors_stay_where_they_are(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    reference = accept(application, tenant, "approval", accountId=None)
    work(pipeline, reference, [Stage.INTAKE])
    update(application, tenant, reference)
    look_until_found(system)
    assert (row(system, reference).status, outbox(system, reference)) == ("DEAD_LETTERED", [(2, False)])


def test_work_in_a_lane_that_nobody_knows_goes_to_one_that_is_served(
    system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception whose lane no dispatcher knows, as after the API alone was told of more lanes
    LaneLeases(system, "nobody", 1.0).ensure(2)
    reference = accept(application, tenant, taken=False)
    change(application, reference, "UPDATE outbox SET lane = 248 WHERE exception_id = %(id)s")
    look(system, 20)
    assert causes(system, reference) == []
    report = look(system, 40)
    assert report.made_ready[Kind.LANE_UNKNOWN] >= 1
    assert causes(system, reference) == [Kind.LANE_UNKNOWN]


def test_a_notification_without_a_time_is_handed_out_again(system: Engine, application: Engine) -> None:
    # given a notification that is to be sent and has lost its time
    tenant = new_tenant(system)
    reference = accept(application, tenant)
    change(application, reference, _NOTIFICATION, tenant=tenant.tenant_id)
    # then it is due again once it has been so for a while
    assert Kind.NOTIFICATION_LOST not in look(system, 20).made_ready
    assert look(system, 40).made_ready[Kind.NOTIFICATION_LOST] == 1
    with unit_of_work(system) as transaction:
        statement = "SELECT due_at FROM notifications WHERE exception_id = %(id)s"
        assert transaction.rows(statement, {"id": str(reference.exception_id)})[0].due_at is not None
    change(
        application, reference, "UPDATE notifications SET state = 'failed', due_at = NULL WHERE exception_id = %(id)s"
    )


def test_states_that_cannot_be_are_told_and_not_touched(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    # given an exception that is being worked and at its end
    reference = accept(application, tenant)
    change(application, reference, "UPDATE exceptions SET stage = 5 WHERE exception_id = %(id)s")
    # when the reconciler looks
    fault = next(fault for fault in look(system, 45).faults if fault.kind == Kind.IMPOSSIBLE_STATE)
    # then it says so with an example, and does nothing about it
    assert fault.found >= 1
    assert row(system, reference).stage == 5
    with unit_of_work(system) as transaction:
        (noted,) = transaction.rows("SELECT found FROM reconciler_kinds WHERE kind = 'impossible_state'")
    assert noted.found == fault.found
    change(application, reference, "UPDATE exceptions SET status = 'CANCELLED' WHERE exception_id = %(id)s")


def test_timers_and_holds_that_nobody_looks_after_are_told(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant
) -> None:
    reference = accept(application, tenant, taken=False)
    change(application, reference, _TIMER, tenant=tenant.tenant_id)
    change(application, reference,
           "UPDATE outbox SET ready = false, due_at = now() WHERE exception_id = %(id)s")  # fmt: skip
    found = {fault.kind: fault.found for fault in look(system, 45).faults}
    assert found[Kind.TIMER_OVERDUE] >= 1 and found[Kind.HOLD_OVERDUE] >= 1
    change(application, reference, "DELETE FROM timers WHERE exception_id = %(id)s")


def test_a_slow_stage_is_not_flooded_with_repeats(
    pipeline: Pipeline, system: Engine, application: Engine, tenant: TestTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given ten exceptions whose messages lie in a queue that nobody gets to, and room for three repeats
    monkeypatch.setattr(limits, "WINDOW", _repeats_out(system) + 3)
    references = [accept(application, tenant) for _ in range(10)]
    for reference in references:
        work(pipeline, reference, [Stage.INTAKE, Stage.TRIAGE, Stage.POLICY])
    # when the reconciler looks again and again
    look_until_found(system)
    for seconds in (50, 55, 60):
        look(system, seconds)
    # then three are out as repeats and no more
    repeated = [reference for reference in references if outbox(system, reference)]
    assert len(repeated) == 3
    # and after they were taken and did not move either, each is repeated once, after twice the wait
    for reference in repeated:
        take_from_outbox(application, tenant, reference.exception_id)
    for seconds in (70, 100):
        look(system, seconds)
    assert [causes(system, reference).count(Kind.MESSAGE_LOST) for reference in repeated] == [1, 1, 1]
    look(system, 110)
    assert [causes(system, reference).count(Kind.MESSAGE_LOST) for reference in repeated] == [2, 2, 2]
    # when they move at last
    for reference in repeated:
        take_from_outbox(application, tenant, reference.exception_id)
        work(pipeline, reference, [Stage.PLAYBOOK, Stage.TOOL])
    # then the next ones follow
    look(system, 115)
    assert len([reference for reference in references if outbox(system, reference)]) == 3


def test_a_chore_is_one_process_s_at_a_time_and_due_again_later(system: Engine, migrated: Settings) -> None:
    # given two dispatchers with the same chore
    name, done = f"test-{uuid4().hex[:8]}", []
    first, second = (
        Upkeep(system, holder, (Chore(name, 60.0, lambda h=holder: done.append(h)),)) for holder in ("a", "b")
    )
    # when both look
    assert first.once() + second.once() == 1
    # then one has done it, and neither does it again before its time
    assert done == ["a"]
    assert first.once() + second.once() == 0
    # and one that died in the middle is replaced when its lease is over
    with unit_of_work(system) as transaction:
        transaction.run("UPDATE chores SET due_at = now() WHERE name = %(name)s", {"name": name})
    assert second.once() == 1


@pytest.fixture(autouse=True)
def a_world_of_its_own(system: Engine) -> Iterator[None]:
    """The tests' lane is one that is known and that no running dispatcher gets. What other tests left undone in such
    lanes is finished, and what these suspect at times that have not come is nobody else's concern."""
    with unit_of_work(system) as transaction:
        statement = "INSERT INTO lanes VALUES (%(lane)s, 'a test', now() + interval '1 hour') ON CONFLICT DO NOTHING"
        transaction.run(statement, {"lane": LANE})
        transaction.run("UPDATE exceptions SET status = 'CANCELLED', stage = 5 WHERE lane > 240 AND stage < 5")
    yield
    with unit_of_work(system) as transaction:
        transaction.run("DELETE FROM lanes WHERE lane = %(lane)s", {"lane": LANE})
        transaction.run("DELETE FROM suspects")


def _repeats_out(system: Engine) -> int:
    with unit_of_work(system) as transaction:
        statement = "SELECT count(*) FROM suspects WHERE stage = 3 AND repeats > 0"
        return int(transaction.rows(statement)[0][0])


_SENT = """
INSERT INTO tool_executions (idempotency_key, tenant_id, exception_id, plan_id, step, tool, state, attempt, lease_until,
                             requested_at, sent_at)
VALUES (%(key)s, %(tenant)s, %(id)s, %(key)s, '1', 't', 'sent', 1, %(until)s, now(), now())
"""
_RESTING = """
UPDATE exceptions SET sequence = 1, stage = 5, status = 'RESOLVED', updated_at = now() WHERE exception_id = %(id)s
"""
_NOTIFICATION = """
INSERT INTO notifications (exception_id, position, policy, tenant_id, event, channel, params, domain_version,
                           tenant_version, state, created_at)
VALUES (%(id)s, 1, '1', %(tenant)s, 'ExceptionResolved', 'webhook', '{}', 1, 1, 'intent', now())
"""
_TIMER = """
INSERT INTO timers (exception_id, kind, step, tenant_id, due_at) VALUES (%(id)s, 'wait', '1', %(tenant)s, now())
"""
