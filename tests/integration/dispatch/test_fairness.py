"""What a dispatcher takes from the outbox: in order within a tenant, in turn across tenants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from service.dispatch.dispatcher import take as take_rows
from service.domain.pauses import NOTHING_PAUSED, Pause, PausesInForce, Scope
from service.persistence.unit_of_work import as_json, unit_of_work
from service.wiring import new_id

pytestmark = pytest.mark.stack

LANE = 250
"""A lane that no running dispatcher serves."""

_FILL = """
INSERT INTO outbox (exception_id, sequence, tenant_id, lane, stage, ready)
SELECT id, 1, tenant, %(lane)s, 0, ready
  FROM json_to_recordset(%(rows)s::json) AS r(id uuid, tenant text, ready boolean)
"""

_LOOKED_AT = """
SELECT seq_tup_read + idx_tup_fetch AS number FROM pg_stat_xact_user_tables WHERE relname = 'outbox'
"""
"""Rows of the outbox that the transaction has read, by PostgreSQL's own count."""


@pytest.fixture(autouse=True)
def an_empty_lane(system: Engine) -> Iterator[None]:
    yield
    with unit_of_work(system) as transaction:
        transaction.run("DELETE FROM outbox WHERE lane = %(lane)s", {"lane": LANE})


def fill(engine: Engine, tenant: str, count: int, *, ready: bool = True) -> list[str]:
    ids = [str(new_id()) for _ in range(count)]
    with unit_of_work(engine) as transaction:
        rows = [{"id": i, "tenant": tenant, "ready": ready} for i in ids]
        transaction.run(_FILL, {"lane": LANE, "rows": as_json(rows)})
    return ids


def take(engine: Engine, size: int, paused: PausesInForce = NOTHING_PAUSED) -> list[tuple[str, str]]:
    with unit_of_work(engine) as transaction:
        rows = take_rows(transaction, LANE, size, paused)
    return [(row.tenant_id, str(row.exception_id)) for row in rows]


def test_a_long_backlog_does_not_delay_another_tenant_s_single_exception(system: Engine) -> None:
    # given a tenant with a thousand exceptions waiting, and one that comes after them with one
    fill(system, "busy", 1000)
    (lone,) = fill(system, "quiet", 1)
    # when the next batch is taken
    batch = take(system, 100)
    # then the one is in it
    assert ("quiet", lone) in batch
    assert len(batch) == 100


def test_tenants_take_turns(system: Engine) -> None:
    for tenant in ("a", "b", "c"):
        fill(system, tenant, 50)
    shares = [tenant for tenant, _ in take(system, 30)]
    assert {tenant: shares.count(tenant) for tenant in "abc"} == {"a": 10, "b": 10, "c": 10}


def test_within_a_tenant_first_come_is_first_served(system: Engine) -> None:
    ids = fill(system, "t", 30)
    assert {i for _, i in take(system, 10)} == set(ids[:10])
    assert {i for _, i in take(system, 10)} == set(ids[10:20])


def test_work_whose_predecessor_is_not_finished_stays(system: Engine) -> None:
    # given a tenant with work that has to wait beside work that is ready
    fill(system, "t", 5, ready=False)
    (ready,) = fill(system, "t", 1)
    # then only the ready one is taken
    assert take(system, 10) == [("t", ready)]


def test_what_is_taken_and_not_sent_is_taken_again(system: Engine) -> None:
    # given a dispatcher that took work and failed to send it
    ids = fill(system, "t", 3)
    with pytest.raises(RuntimeError), unit_of_work(system) as transaction:
        assert len(take_rows(transaction, LANE, 10)) == 3
        raise RuntimeError("Kafka is away")
    # then the next look finds it
    assert {i for _, i in take(system, 10)} == set(ids)


def test_a_paused_tenant_s_backlog_slows_nobody_down(system: Engine) -> None:
    # given a paused tenant with a long backlog in the lane of others
    fill(system, "busy", 30_000)
    ids = fill(system, "quiet", 20)
    pause = Pause(new_id(), Scope.TENANT, "busy", None, None, "r", None, False, datetime.now(UTC), "ann")
    # when batches are taken
    looked_at = []
    for _ in range(10):
        with unit_of_work(system) as transaction:
            assert len(take_rows(transaction, LANE, 2, PausesInForce([pause]))) == 2
            looked_at.append(transaction.rows(_LOOKED_AT)[0].number)
    # then the others' work comes, and the backlog is not walked over for it
    assert take(system, 10, PausesInForce([pause])) == []
    assert max(looked_at) < 1000, looked_at
    # and afterwards it is the paused one's turn
    assert len(take(system, 100)) == 100
    assert len(ids) == 20
