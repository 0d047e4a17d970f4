"""How fast dead letters leave without a rate limit: `python -m tests.benchmarks.redriving [NUMBER]`.

Needs DATABASE_URL of a migrated database that no dispatcher works on. Prints what it measured; leaves its tenant there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psutil
from sqlalchemy import Engine

from service.dispatch.redrives import Redrives
from service.domain.exceptions import Stage
from service.domain.operations import Action
from service.domain.redriving import DeadLetterState, Wish
from service.engine.batch import Reference
from service.engine.failures import Failure, ToolRefusedError, as_dead_letters
from service.engine.operations import BATCH
from service.persistence.database import Role, open_engine
from service.persistence.dead_letters import DeadLetterFilter
from service.persistence.ingestion import Ingestion, NewException
from service.persistence.operations import NewOperation, Operations
from service.persistence.sealing import Sealing
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import unit_of_work
from service.settings import load_settings
from service.wiring import new_id
from tests.tenants import new_tenant

LANE = 247
"""A lane that no dispatcher serves."""


def main(number: int) -> None:
    """Make dead letters, send them again, tell how long it took."""
    url = load_settings(os.environ).database_url
    system = open_engine(url, Role.SYSTEM)
    application = open_engine(url, Role.APPLICATION, sealing=Sealing())
    tenant = new_tenant(system).tenant_id
    for count in _portions(number):
        _die(application, tenant, count)
    operation = _begin(application, tenant)
    began, used = time.perf_counter(), _used(application)
    sent = Redrives(system, application).once()
    seconds, used = time.perf_counter() - began, _used(application) - used
    print(f"{sent:,} dead letters sent again in {seconds:.2f} s: {sent / seconds:,.0f} a second, {BATCH} a transaction")
    print(f"it took {used:.2f} s of CPU, PostgreSQL's included: {sent / used:,.0f} a second of one core")
    with unit_of_work(application, [tenant]) as transaction:
        begun = time.perf_counter()
        counts = Operations(transaction, tenant, datetime.now(UTC)).measured([operation])[operation].counts
        print(f"counting the {counts.total:,} items took {(time.perf_counter() - begun) * 1000:.1f} ms")
        transaction.run("UPDATE exceptions SET stage = 5, status = 'RESOLVED', resting_status = 'RESOLVED'")
    begun = time.perf_counter()
    Redrives(system, application).once()
    print(f"settling them all took {time.perf_counter() - begun:.2f} s")


def _used(engine: Engine) -> float:
    """CPU seconds of this process and of PostgreSQL's processes on this machine."""
    with unit_of_work(engine) as transaction:
        postmaster = psutil.Process(transaction.rows("SELECT pg_backend_pid() AS pid")[0].pid).parent()
    assert postmaster is not None
    times = [child.cpu_times() for child in postmaster.children()]
    return time.process_time() + sum(one.user + one.system for one in times)


def _portions(number: int) -> Iterator[int]:
    while number > 0:
        yield min(number, 1000)
        number -= 1000


def _die(engine: Engine, tenant: str, number: int) -> None:
    now = datetime.now(UTC)
    items = [
        NewException(str(new_id()), LANE, str(uuid4()), "bench", {"n": n}, exception_type="STALE_PRICE_ALERT")
        for n in range(number)
    ]
    references = [Reference(tenant, UUID(item.exception_id), 1) for item in items]
    failures = [Failure(reference, ToolRefusedError("tool 'drill' answered 422"), "drill") for reference in references]
    with unit_of_work(engine, [tenant]) as transaction:
        Ingestion(transaction, tenant, now).accept(items)
        ids = {"ids": [str(reference.exception_id) for reference in references]}
        transaction.run("UPDATE exceptions SET stage = 4 WHERE exception_id = ANY(%(ids)s::uuid[])", ids)
        transaction.run("DELETE FROM outbox WHERE exception_id = ANY(%(ids)s::uuid[])", ids)
        StageRepository(transaction).dead_letter(Stage.TOOL, as_dead_letters(Stage.TOOL, failures), now)


def _begin(engine: Engine, tenant: str) -> UUID:
    new = NewOperation(
        operation_id=new_id(),
        action=Action.REDRIVE,
        filter={"all": True},
        chooses=DeadLetterFilter(states=(DeadLetterState.PENDING,)),
        limit=100_000,
        wish=Wish(),
        canary=0,
        canary_timeout_seconds=60,
        rate_per_second=None,
        by="bench",
        reason="to measure",
        key=None,
        hash=b"",
    )
    with unit_of_work(engine, [tenant]) as transaction:
        begun = time.perf_counter()
        chosen = Operations(transaction, tenant, datetime.now(UTC)).create(new)
        print(f"choosing {chosen:,} took {time.perf_counter() - begun:.2f} s")
    return new.operation_id


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
