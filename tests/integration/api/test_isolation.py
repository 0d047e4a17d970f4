"""A tenant sees its own and nothing else, and the database sees to it even if the API does not."""

from __future__ import annotations

import psycopg2.errors
import pytest
from sqlalchemy.exc import ProgrammingError

from service.persistence.models import TENANT_TABLES
from service.persistence.unit_of_work import unit_of_work
from tests.integration.api.world import Caller, Tenant, World, exception, refused


def test_another_tenants_exception_is_not_there(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception of one tenant
    exception_id = caller.accepted(exception(externalId="SF-1"))
    before = world.stored(tenant)
    # when another tenant's admin asks for it in every way there is
    other = world.caller(world.tenant())
    answers = [
        other.get(f"/exceptions/{exception_id}"),
        other.get(f"/exceptions/{exception_id}/events"),
        other.post(f"/exceptions/{exception_id}/events", {"type": "updated", "data": {"a": 1}}),
        *(
            other.post(f"/exceptions/{exception_id}/{call}", {"comment": "mine"})
            for call in ("approve", "reject", "cancel", "steps/1/complete")
        ),
    ]
    # then it is told what it would be told about one that never was
    never = other.get("/exceptions/01a205fc-ae0a-74cf-a0b5-232c5ef761ac")
    for answer in answers:
        assert refused(answer, 404, "not-found")["detail"] == never.json["detail"]
    assert other.get("/exceptions").json["items"] == []
    assert other.get(f"/exceptions?q={exception_id}").json["items"] == []
    assert other.get("/ledger").json["accepted"] == 0
    assert world.stored(tenant) == before


def test_the_api_acts_as_a_role_that_row_level_security_binds(world: World) -> None:
    with unit_of_work(world.application) as transaction:
        (row,) = transaction.rows("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
    assert (row.rolname, row.rolsuper, row.rolbypassrls) == ("sentinai_app", False, False)


@pytest.mark.parametrize("table", [table.name for table in TENANT_TABLES])
def test_a_transaction_that_declares_no_tenant_sees_nothing(world: World, caller: Caller, table: str) -> None:
    # given rows of a tenant
    caller.accepted(exception(externalId="SF-1"))
    # when a transaction of the API's role declares nobody
    with unit_of_work(world.application) as transaction:
        rows = transaction.rows(f"SELECT 1 FROM {table} LIMIT 1")
    # then there is nothing to see
    assert rows == []


def test_a_transaction_cannot_write_for_a_tenant_it_did_not_declare(world: World, tenant: Tenant) -> None:
    other = world.tenant()
    with pytest.raises(ProgrammingError) as caught, unit_of_work(world.application, [tenant.tenant_id]) as transaction:
        transaction.run(
            """INSERT INTO idempotency_keys (tenant_id, key, request_hash, exception_id, sequence, created_at)
               VALUES (%(t)s, 'k', '', gen_random_uuid(), 1, now())""",
            {"t": other.tenant_id},
        )
    assert isinstance(caught.value.orig, psycopg2.errors.InsufficientPrivilege)


def test_an_event_can_be_neither_changed_nor_removed(world: World, tenant: Tenant, caller: Caller) -> None:
    caller.accepted()
    for statement in ("UPDATE events SET type = 'Nothing'", "DELETE FROM events"):
        with pytest.raises(ProgrammingError) as caught:
            world.as_engine(tenant, lambda t, sql=statement: t.run(sql))
        assert isinstance(caught.value.orig, psycopg2.errors.InsufficientPrivilege)
