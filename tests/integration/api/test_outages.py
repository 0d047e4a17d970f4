"""What the API does while something is away: only PostgreSQL is needed, and then nothing is half-written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.api import create_app
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from tests.client import wait_for
from tests.integration.api.world import Caller, Tenant, World, exception, refused
from tests.network.severable import SeverableWay, severable_way

NOBODY_LISTENS = "127.0.0.1:1"


@dataclass
class Fragile:
    """An API whose way to PostgreSQL can be cut."""

    way: SeverableWay
    caller: Caller


@pytest.fixture
def fragile(migrated: Settings, tenant: Tenant, tmp_path: Path) -> Iterator[Fragile]:
    with severable_way(migrated.database_url, tmp_path / "way.log") as way:
        app = create_app(migrated.model_copy(update={"database_url": way.url}))
        yield Fragile(way, Caller(app.test_client(), tenant.keys["admin"]))


def without(migrated: Settings, **settings: str) -> Settings:
    return migrated.model_copy(update=settings)


def test_without_the_database_nothing_is_taken_and_the_sender_is_told_to_come_again(
    world: World, tenant: Tenant, fragile: Fragile
) -> None:
    # given an API that has served this caller, and then lost its database
    exception_id = fragile.caller.accepted()
    before = world.stored(tenant)
    fragile.way.cut()
    # when anything is asked of it
    answers = [
        fragile.caller.post("/exceptions", exception(externalId="SF-1")),
        fragile.caller.post("/exceptions/batch", {"items": [exception()] * 20}),
        fragile.caller.post(f"/exceptions/{exception_id}/events", {"type": "updated", "data": {}}),
        fragile.caller.get("/exceptions"),
        fragile.caller.get("/ledger"),
    ]
    # then it is away, for a while, and says no more than that
    for answer in answers:
        refused(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "psycopg2" not in answer.text
        assert "postgresql://" not in answer.text
    assert world.stored(tenant) == before
    # when the database is back
    fragile.way.mend()
    # then the same request is served, after at most one dead connection was found
    answers = [fragile.caller.post("/exceptions", exception(externalId="SF-1")) for _ in range(2)]
    assert answers[-1].status_code == 202
    assert world.stored(tenant)["exceptions"] == before["exceptions"] + 1


@pytest.mark.parametrize("arrived", [True, False], ids=["the commit arrived", "the commit did not arrive"])
def test_what_broke_off_in_its_commit_is_taken_once_when_it_is_sent_again(
    world: World, tenant: Tenant, fragile: Fragile, arrived: bool
) -> None:
    # given an API whose way to PostgreSQL is cut in the middle of a commit
    fragile.caller.accepted()
    before = world.stored(tenant)
    headers = {"idempotency_key": f"once-{arrived}"}
    fragile.way.lose_commits(arriving=arrived)
    # when something is sent
    answer = fragile.caller.post("/exceptions", exception(), **headers)
    # then the sender is told to come again: nobody knows what became of it
    refused(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    wait_for(lambda: world.stored(tenant)["exceptions"] == before["exceptions"] + arrived)
    # when it comes again, and once more
    fragile.way.mend()
    answers = [fragile.caller.post("/exceptions", exception(), **headers) for _ in range(3)]
    # then it is there once, whole, and is the same to everybody
    taken = [one.json["exceptionId"] for one in answers if one.status_code == 202]
    assert len(taken) >= 2
    assert len(set(taken)) == 1
    after = world.stored(tenant)
    assert {table: after[table] - before[table] for table in ("exceptions", "outbox")} == {"exceptions": 1, "outbox": 1}


def test_readiness_names_what_is_missing(fragile: Fragile, migrated: Settings) -> None:
    # given an API with everything but Kafka and Redis
    app = create_app(
        without(migrated, kafka_bootstrap_servers=NOBODY_LISTENS, redis_url=f"redis://:pw@{NOBODY_LISTENS}/0")
    )
    # then it is ready, but less than it could be
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "degraded",
        "checks": {"database": "ok", "redis": "not reachable", "kafka": "not reachable"},
    }
    # given one without its database
    fragile.way.cut()
    # then it lives, but is not ready
    assert fragile.caller.client.get("/healthz").json == {"status": "ok"}
    problem = refused(fragile.caller.client.get("/readyz"), 503, "unavailable")
    assert problem["errors"] == [{"path": "database", "message": "not reachable"}]


def test_a_database_with_another_schema_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.views.operations._head", lambda: "9999")
    problem = refused(world.client.get("/readyz"), 503, "unavailable")
    assert "9999" in problem["errors"][0]["message"]


def test_without_kafka_exceptions_are_still_taken(world: World, tenant: Tenant, migrated: Settings) -> None:
    app = create_app(without(migrated, kafka_bootstrap_servers=NOBODY_LISTENS))
    exception_id = Caller(app.test_client(), tenant.keys["ingest"]).accepted()
    assert world.outbox(tenant, exception_id) == [(1, 0, True)]


def test_without_redis_nobody_is_limited_and_the_log_says_so_once(
    tenant: Tenant, migrated: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    # given a tenant that may send next to nothing, and no Redis to count in
    settings = migrated.model_copy(update={"redis_url": f"redis://{NOBODY_LISTENS}/0", "rate_limit_per_second": 1})
    caller = Caller(create_app(settings).test_client(), tenant.keys["ingest"])
    # when it sends more than that
    with caplog.at_level(logging.WARNING):
        answers = [caller.post("/exceptions/batch", {"items": [exception()] * 500}) for _ in range(4)]
    # then all is taken
    assert [answer.json["accepted"] for answer in answers] == [500] * 4
    assert [record.message for record in caplog.records if "Redis is away" in record.message] == [
        "Redis is away (ConnectionError): tenants' rates are not limited until it is back"
    ]


def test_a_revoked_key_is_refused_by_a_process_that_never_saw_it(
    world: World, tenant: Tenant, migrated: Settings
) -> None:
    with unit_of_work(world.system) as transaction:
        transaction.run(
            "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = %(t)s AND role = 'operator'",
            {"t": tenant.tenant_id},
        )
    refused(Caller(create_app(migrated).test_client(), tenant.keys["operator"]).get("/ledger"), 401, "unauthenticated")
    assert Caller(create_app(migrated).test_client(), tenant.keys["admin"]).get("/ledger").status_code == 200
