"""/metrics and the watched ledger on a real database: who may read them, what they tell, and that a loss is noticed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner, Result
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service.api import create_app
from service.api.metrics import COST_SHARE, Exposition, Remembered
from service.cli import cli
from service.cli.ledger import looks
from service.engine.bookkeeping import check_ledger
from service.engine.reconciliation import reconcile
from service.persistence.statements.dead_letter_audits import STORE
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from service.wiring import utc_now
from tests.integration.api.world import Caller, Tenant, World, refused

pytestmark = pytest.mark.stack

TOKEN = "a-token-of-operators"
Sentinai = Callable[..., Result]
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def sentinai(migrated: Settings, monkeypatch: pytest.MonkeyPatch) -> Sentinai:
    monkeypatch.setenv("DATABASE_URL", migrated.database_url)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


@pytest.fixture
def told(world: World) -> Callable[[], Figures]:
    """The figures as a scraper reads them, read anew each time."""

    def scrape() -> Figures:
        families = text_string_to_metric_families(Exposition(world.system).text().decode())
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    return scrape


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_a_topic_of_dead_letters_that_differs_is_told(world: World, told: Callable[[], Figures]) -> None:
    # given the audit's last word on a cursor
    name = f"cursor-{uuid4()}"
    stored = {"name": name, "snapshot": "1:1:", "offsets": "{}"}
    for agree in (True, False):
        with unit_of_work(world.system) as transaction:
            transaction.run(STORE, {**stored, "report": f'{{"agree": {str(agree).lower()}}}'})
        # then a scraper reads it
        assert told()[of("sentinai_dead_letter_audit_agrees", cursor=name)] == agree
        assert told()[of("sentinai_dead_letter_audit_age_seconds", cursor=name)] < 60
    with unit_of_work(world.system) as transaction:
        transaction.run("DELETE FROM dead_letter_audits WHERE name = %(name)s", stored)


@pytest.fixture
def a_row_too_many(world: World, tenant: Tenant) -> Iterator[UUID]:
    """An exception without the event of its acceptance, as if that event were lost."""
    exception_id = uuid4()
    parameters = {"id": str(exception_id), "tenant": tenant.tenant_id}
    world.as_engine(tenant, lambda transaction: transaction.run(_ROW, parameters))
    yield exception_id
    world.as_engine(tenant, lambda transaction: transaction.run(_EVENT, parameters))


def test_operators_read_what_the_installation_has_to_do(
    world: World, tenant: Tenant, caller: Caller, told: Callable[[], Figures]
) -> None:
    # given a tenant with two exceptions under way, one of them waiting for a person
    caller.accepted()
    world.rest(tenant, caller.accepted(), "PENDING_STEP")
    reconcile(world.system, 30, utc_now())
    # when an operator scrapes
    figures = told()
    # then the tenant's books are told, and balance
    mine = {"tenant": tenant.tenant_id}
    assert figures[of("sentinai_ledger_accepted", **mine)] == 2
    assert figures[of("sentinai_ledger_exceptions", state="in_flight", **mine)] == 1
    assert figures[of("sentinai_ledger_exceptions", state="waiting", **mine)] == 1
    assert figures[of("sentinai_ledger_balanced", **mine)] == 1
    # and what is to do
    assert figures[of("sentinai_outbox_rows", state="ready")] >= 1
    assert figures[of("sentinai_outbox_oldest_ready_seconds")] > 0
    assert of("sentinai_lanes_served") in figures and of("sentinai_pauses", scope="dispatch") in figures
    assert figures[of("sentinai_reconciler_found", kind="impossible_state")] >= 0


def test_a_loss_is_an_alert_a_figure_and_an_exit_code_and_has_a_name(
    world: World,
    tenant: Tenant,
    told: Callable[[], Figures],
    sentinai: Sentinai,
    a_row_too_many: UUID,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # then the books of its tenant do not balance, and the log says so with an exception to look at
    with caplog.at_level(logging.ERROR):
        assert [books.tenant_id for books in check_ledger(world.system)] == [tenant.tenant_id]
    assert f"the ledger of tenant {tenant.tenant_id} does not balance: 0 accepted, 1 accounted for" in caplog.text
    assert str(a_row_too_many) in caplog.text
    # and so do the figure and the command
    assert told()[of("sentinai_ledger_balanced", tenant=tenant.tenant_id)] == 0
    result = sentinai("ledger", "--tenant", tenant.tenant_id)
    assert result.exit_code == 1 and "does not balance" in result.stderr
    # and watching ends at it with a clear line
    watched = sentinai("ledger", "--watch", "--tenant", tenant.tenant_id, "--json", "--for", "30")
    assert watched.exit_code == 1 and "1 without the event of their acceptance" in watched.stderr
    (line,) = watched.stdout.splitlines()
    assert json.loads(line)["balanced"] is False
    # and the audit names it
    audited = sentinai("ledger", "--audit", "--tenant", tenant.tenant_id, "--json")
    assert audited.exit_code == 1
    assert [(one["exceptionId"], one["fault"]) for one in json.loads(audited.stdout)] == [
        (str(a_row_too_many), "the event of its acceptance is gone")
    ]


def test_two_losses_that_even_out_are_noticed_by_the_audit(
    world: World, tenant: Tenant, sentinai: Sentinai, a_row_too_many: UUID
) -> None:
    # given a row without an event, and an event without a row
    lost = uuid4()
    world.as_engine(tenant, lambda t: t.run(_EVENT, {"id": str(lost), "tenant": tenant.tenant_id}))
    # then counting cannot tell
    assert sentinai("ledger", "--tenant", tenant.tenant_id).exit_code == 0
    # but comparing one by one can
    audited = sentinai("ledger", "--audit", "--tenant", tenant.tenant_id, "--json")
    faults = {one["exceptionId"]: one["fault"] for one in json.loads(audited.stdout)}
    assert faults == {
        str(a_row_too_many): "the event of its acceptance is gone",
        str(lost): "accepted, and its row is gone",
    }
    world.as_engine(tenant, lambda t: t.run(_ROW, {"id": str(lost), "tenant": tenant.tenant_id}))


def test_watching_tells_one_line_a_look_until_its_time_is_up(
    caller: Caller, tenant: Tenant, sentinai: Sentinai
) -> None:
    caller.accepted()
    watched = sentinai("ledger", "--watch", "--tenant", tenant.tenant_id, "--json", "--interval", "0.1", "--for", "1")
    assert watched.exit_code == 0, watched.output
    lines = [json.loads(line) for line in watched.stdout.splitlines()]
    assert len(lines) >= 2
    assert all(line["balanced"] and line["tenants"][0]["accepted"] == 1 for line in lines)


def test_looking_is_never_the_load() -> None:
    # given looks that take three seconds, and an interval of two
    clock, slept = [0.0], []

    def look() -> list[object]:
        clock[0] += 3
        return []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    # then there are three seconds between them, and none begins after the end
    assert len(list(looks(look, 2, 20, lambda: clock[0], sleep))) == 4
    assert slept == [3, 3, 3]


def test_what_was_read_is_told_again_for_longer_the_more_it_cost() -> None:
    # given a figure that takes two seconds to read
    clock, reads = [0.0], []

    def read() -> int:
        clock[0] += 2
        reads.append(clock[0])
        return len(reads)

    figure = Remembered(read, 1.0, lambda: clock[0])
    assert [figure(), figure()] == [1, 1]
    # when its time is not up yet, by its cost
    clock[0] = 2 + 2 / COST_SHARE - 0.1
    assert figure() == 1
    # then it is read again only after
    clock[0] += 0.2
    assert figure() == 2


@pytest.fixture
def guarded(migrated: Settings) -> FlaskClient:
    """An API whose operators have set a token."""
    return create_app(migrated.model_copy(update={"metrics_token": TOKEN})).test_client()


def test_no_tenant_reads_the_metrics(world: World, tenant: Tenant, guarded: FlaskClient) -> None:
    # given a token: a tenant's key is none
    for headers in ({}, {"X-API-KEY": tenant.keys["admin"]}, {"Authorization": f"Bearer {tenant.keys['admin']}"}):
        refused(guarded.get("/metrics", headers=headers), 401, "unauthenticated")
    answer = guarded.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200 and answer.content_type.startswith("text/plain")
    assert b"sentinai_ledger_balanced" in answer.data
    # given none: only callers on the same host, and not through a proxy
    assert world.client.get("/metrics").status_code == 200
    elsewhere = {"REMOTE_ADDR": "10.0.0.7"}
    refused(world.client.get("/metrics", environ_overrides=elsewhere), 403, "forbidden")
    refused(world.client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}), 403, "forbidden")
    refused(world.client.get("/metrics", headers={"X-API-KEY": tenant.keys["admin"], "Via": "proxy"}), 403, "forbidden")


_ROW = """
INSERT INTO exceptions (exception_id, tenant_id, status, resting_status, sequence, last_sequence, stage, position, lane,
                        source_system, confidence, sealed_payload, trace_id, occurred_at, received_at, updated_at)
VALUES (%(id)s, %(tenant)s, 'RESOLVED', 'RESOLVED', 1, 1, 5, 1, 255, 'x', 1, '', %(id)s, now(), now(), now())
"""
_EVENT = """
INSERT INTO events (exception_id, position, occurred_at, tenant_id, sequence, stage, type, trace_id, data)
VALUES (%(id)s, 1, now(), %(tenant)s, 1, 0, 'ExceptionIngested', %(id)s, '{}')
"""
