"""Leases on lanes: each has one server, the servers share them, and a dead one's are taken over."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy import Engine, create_engine

from service.dispatch.lanes import LaneLeases
from service.persistence.database import sqlalchemy_url
from service.settings import Settings
from tests.client import wait_for

pytestmark = pytest.mark.stack

LANES = 4
LONG, SHORT = 60.0, 0.5


@pytest.fixture
def engine(migrated: Settings) -> Iterator[Engine]:
    """A schema with lanes of its own, so that dispatchers of other tests have no part in it."""
    schema = f"lanes_{uuid.uuid4().hex[:8]}"
    owner = psycopg2.connect(migrated.owner_url)
    owner.autocommit = True
    with owner.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {schema}")
        cursor.execute(f"GRANT USAGE ON SCHEMA {schema} TO sentinai_system")
        for table in ("lanes", "dispatchers"):
            cursor.execute(f"CREATE TABLE {schema}.{table} (LIKE public.{table} INCLUDING ALL)")
            cursor.execute(f"GRANT ALL ON {schema}.{table} TO sentinai_system")
    options = {"options": f"-c role=sentinai_system -c search_path={schema}"}
    engine = create_engine(sqlalchemy_url(migrated.database_url), connect_args=options)
    yield engine
    engine.dispose()
    with owner.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {schema} CASCADE")
    owner.close()


def dispatcher(engine: Engine, name: str, lease_seconds: float = LONG) -> LaneLeases:
    leases = LaneLeases(engine, name, lease_seconds)
    leases.ensure(LANES)
    return leases


def test_one_dispatcher_serves_every_lane(engine: Engine) -> None:
    assert dispatcher(engine, "only").renew() == frozenset(range(LANES))


def test_a_second_dispatcher_gets_its_share_and_no_lane_has_two(engine: Engine) -> None:
    # given a dispatcher that serves everything
    first, second = dispatcher(engine, "first"), dispatcher(engine, "second")
    assert len(first.renew()) == LANES
    # when a second one comes, it finds nothing free, but is seen
    assert second.renew() == frozenset()
    # then the first gives up what exceeds its share, and the second takes it
    held_by_first, held_by_second = first.renew(), second.renew()
    assert (len(held_by_first), len(held_by_second)) == (LANES // 2, LANES // 2)
    assert held_by_first | held_by_second == frozenset(range(LANES))


def test_a_dead_dispatcher_s_lanes_are_taken_over(engine: Engine) -> None:
    # given a dispatcher that took all lanes and then said nothing more
    assert len(dispatcher(engine, "dead", SHORT).renew()) == LANES
    # then another one has them all once the lease is over
    heir = dispatcher(engine, "heir")
    wait_for(lambda: heir.renew() == frozenset(range(LANES)), 10)


def test_a_stopping_dispatcher_leaves_no_gap(engine: Engine) -> None:
    leaving = dispatcher(engine, "leaving")
    leaving.renew()
    leaving.release()
    assert dispatcher(engine, "next").renew() == frozenset(range(LANES))
