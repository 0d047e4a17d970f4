"""Errors of a real PostgreSQL, by SQLSTATE: which are outages, and what a connection is worth afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from service.domain.exceptions import Stage
from service.domain.stages import DECIDE
from service.engine.batch import Batch
from service.engine.packs import PackSource
from service.engine.runner import StageRunner
from service.persistence.database import Role, open_engine
from service.persistence.outages import DatabaseUnavailableError, OutageBreaker, TransactionAbortedError
from service.persistence.packs import StoredPacks
from service.persistence.sealing import Sealing
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.plans import AGAIN, built, call
from tests.network.severable import SeverableWay, severable_way

pytestmark = pytest.mark.stack


@pytest.fixture
def way(migrated: Settings, tmp_path: Path) -> Iterator[SeverableWay]:
    """A way to the run's PostgreSQL that can be cut."""
    with severable_way(migrated.database_url, tmp_path / "way.log") as way:
        yield way


@pytest.fixture
def severed(way: SeverableWay) -> Iterator[Engine]:
    """The application's engine over that way, with a breaker as a worker has it."""
    breaker = OutageBreaker(open_seconds=0)
    engine = open_engine(way.url, Role.APPLICATION, pool_size=2, sealing=Sealing(), breaker=breaker)
    yield engine
    engine.dispose()


def failing(engine: Engine, sqlstate: str) -> None:
    """A transaction in which PostgreSQL raises an error of this code."""
    with unit_of_work(engine) as transaction:
        transaction.run(f"DO $$ BEGIN RAISE EXCEPTION 'said so' USING ERRCODE = '{sqlstate}'; END $$")


@pytest.mark.parametrize(
    "sqlstate",
    [
        *("08000", "08003", "08006", "08007", "25006", "53000", "53100", "53200", "53300", "53400"),
        *("57P01", "57P02", "57P03", "57P05", "58000", "58030", "58P01"),
    ],
)
def test_a_server_that_cannot_work_is_an_outage(system: Engine, sqlstate: str) -> None:
    with pytest.raises(DatabaseUnavailableError):
        failing(system, sqlstate)


@pytest.mark.parametrize("sqlstate", ["40001", "40003", "40P01", "55P03", "57014", "25P03", "25P04"])
def test_a_transaction_that_was_given_up_is_worked_again_and_is_no_outage(system: Engine, sqlstate: str) -> None:
    with pytest.raises(TransactionAbortedError):
        failing(system, sqlstate)


@pytest.mark.parametrize("sqlstate", ["22012", "23505", "42601", "54000", "P0001", "XX000"])
def test_a_fault_stays_a_fault(system: Engine, sqlstate: str) -> None:
    with pytest.raises(DBAPIError):
        failing(system, sqlstate)


def test_after_a_failover_the_pool_does_not_keep_the_server_that_may_not_write(application: Engine) -> None:
    # given a session with a server that became a replica
    with unit_of_work(application) as transaction:
        before = transaction.rows("SELECT pg_backend_pid()")[0][0]
        transaction.run("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    # when it refuses to write
    with pytest.raises(DatabaseUnavailableError), unit_of_work(application) as transaction:
        transaction.run("SELECT set_config('app.tenants', 'T', true)")
        transaction.run("DELETE FROM outbox")
    # then the next transaction is with another session
    with unit_of_work(application) as transaction:
        assert transaction.rows("SELECT pg_backend_pid()")[0][0] != before


@pytest.mark.parametrize("arrived", [True, False], ids=["the commit arrived", "the commit did not arrive"])
def test_a_stage_whose_commit_broke_off_is_worked_once(
    world: MakeWorld, way: SeverableWay, severed: Engine, arrived: bool
) -> None:
    # given an exception at intake, worked over a way that will be cut in the middle of its commit
    one = world([call(1, AGAIN, "first")])
    reference = one.accepted()
    deciding = StageRunner(severed, PackSource(StoredPacks(), built), DECIDE, lambda: one.now)
    way.lose_commits(arriving=arrived)
    # when the delivery comes, and comes again because nobody knows what became of it
    with pytest.raises(DatabaseUnavailableError):
        deciding.run(Stage.INTAKE, Batch.single(reference))
    way.mend()
    result = deciding.run(Stage.INTAKE, Batch.single(reference))
    # then it goes on, normalised once and with no attempt used up
    assert result.survivors == (reference,)
    assert len(one.events("ExceptionNormalized")) == 1
    assert tuple(one.rows("SELECT stage, attempt FROM exceptions WHERE {own}")[0]) == (Stage.TRIAGE, 0)
