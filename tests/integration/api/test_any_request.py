"""Whatever is sent, the API answers; and what it takes is kept as it was sent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.persistence.sealing import PAYLOAD
from service.persistence.unit_of_work import unit_of_work
from tests.integration.api.world import Tenant, World, exception

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=25
)
MEMBERS = ["sourceSystem", "rawPayload", "exceptionType", "occurredAt", "externalId", "severity", "entity", "tenantId"]
patient = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def encoded(value: Any) -> bytes:
    """JSON as senders in other languages write it: with integers of any size, and NUL."""
    return json.dumps(value).encode()


@patient
@given(members=st.dictionaries(st.sampled_from(MEMBERS) | texts, values, max_size=6), batch=st.booleans())
def test_every_body_is_taken_or_refused(world: World, tenant: Tenant, members: dict[str, Any], batch: bool) -> None:
    body = {**exception(), **members}
    answer = world.caller(tenant).post(
        "/exceptions/batch" if batch else "/exceptions", data=encoded({"items": [body]} if batch else body)
    )
    assert answer.status_code in ((202,) if batch else (202, 403, 422)), answer.text


@patient
@given(payload=st.dictionaries(texts, values, max_size=5))
def test_a_payload_is_kept_as_it_was_sent(world: World, tenant: Tenant, payload: dict[str, Any]) -> None:
    # when a payload is taken
    sent = encoded(exception(rawPayload=payload))
    answer = world.caller(tenant).post("/exceptions", data=sent)
    if answer.status_code == 422:
        return
    # then the database has it, its numbers to the last digit
    exception_id = answer.json["exceptionId"]
    with unit_of_work(world.application, [tenant.tenant_id]) as transaction:
        (row,) = transaction.rows(
            "SELECT sealed_payload AS kept FROM exceptions WHERE exception_id = %(id)s", {"id": exception_id}
        )
        kept = transaction.sealing.open(tenant.tenant_id, UUID(exception_id).bytes, PAYLOAD, row.kept)
    assert decimal(orjson.dumps(kept)) == decimal(sent)["rawPayload"]


def decimal(text: str | bytes) -> Any:
    """JSON with its numbers as they are written."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@patient
@given(
    query=st.dictionaries(st.sampled_from(["limit", "cursor", "status", "from", "to", "q", "sort"]), texts, max_size=3)
)
def test_every_question_is_answered(world: World, tenant: Tenant, query: dict[str, str]) -> None:
    answer = world.client.get("/exceptions", query_string=query, headers={"X-API-KEY": tenant.keys["admin"]})
    assert answer.status_code in (200, 422), answer.text
