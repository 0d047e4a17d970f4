"""Every row of "Limits" in the HTTP contract: the refusal, and that nothing was stored."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import unit_of_work
from tests.integration.api.world import Caller, Tenant, World, exception, refused

MIB = 1024 * 1024


def nested(levels: int) -> dict[str, Any]:
    """A body of so many containers within each other."""
    value: Any = {}
    for _ in range(levels - 3):
        value = {"n": value}
    return exception(rawPayload={"n": value})


def sized(size: int) -> bytes:
    """A body of exactly so many bytes."""
    empty = orjson.dumps(exception(rawPayload={"text": ""}))
    return orjson.dumps(exception(rawPayload={"text": "x" * (size - len(empty))}))


def with_keys(number: int) -> dict[str, Any]:
    """A body of exactly so many object members."""
    return exception(rawPayload={f"k{n}": n for n in range(number - 3)})


GOOD = orjson.dumps(exception())
REFUSED = [
    pytest.param(sized(MIB + 1), "application/json", 413, "too-large", id="one byte over 1 MiB"),
    pytest.param(sized(5 * MIB), "application/json", 413, "too-large", id="5 MiB"),
    pytest.param(orjson.dumps(nested(33)), "application/json", 422, "invalid", id="33 levels"),
    pytest.param(
        b'{"rawPayload":' + b"[" * 900 + b"1" * 30 + b"]" * 900 + b"}",
        "application/json",
        422,
        "invalid",
        id="900 levels and a long number",
    ),
    pytest.param(b"[" * 100_000, "application/json", 422, "invalid", id="100,000 levels"),
    pytest.param(orjson.dumps(with_keys(10_001)), "application/json", 422, "invalid", id="10,001 keys"),
    pytest.param(b"", "application/json", 400, "not-json", id="nothing"),
    pytest.param(b"{", "application/json", 400, "not-json", id="half of it"),
    pytest.param(b"sourceSystem=ERP", "application/json", 400, "not-json", id="a form"),
    pytest.param(GOOD.replace(b'"O-1"', b"NaN"), "application/json", 400, "not-json", id="NaN"),
    pytest.param(GOOD.replace(b'"O-1"', b"-Infinity"), "application/json", 400, "not-json", id="Infinity"),
    pytest.param(GOOD.replace(b'"O-1"', b"1e999"), "application/json", 400, "not-json", id="beyond a double"),
    pytest.param(GOOD.replace(b"O-1", b"\xff"), "application/json", 400, "not-json", id="not UTF-8"),
    pytest.param(GOOD.replace(b"O-1", b"\\ud800"), "application/json", 400, "not-json", id="half a surrogate pair"),
    pytest.param(GOOD.replace(b"O-1", b"\\u0000"), "application/json", 422, "invalid", id="NUL in a value"),
    pytest.param(GOOD.replace(b"orderId", b"a\\u0000"), "application/json", 422, "invalid", id="NUL in a name"),
    pytest.param(GOOD.replace(b"ERP", b"\\u0000"), "application/json", 422, "invalid", id="NUL in a column"),
    pytest.param(GOOD.replace(b'"O-1"', b"9" * 20), "application/json", 422, "invalid", id="20 digits"),
    pytest.param(GOOD.replace(b'"O-1"', b"9" * 300), "application/json", 422, "invalid", id="300 digits"),
    pytest.param(b"[]", "application/json", 422, "invalid", id="a list"),
    pytest.param(b"17", "application/json", 422, "invalid", id="a number"),
    pytest.param(b"null", "application/json", 422, "invalid", id="null"),
    pytest.param(GOOD, "text/plain", 415, "unsupported-media-type", id="text"),
    pytest.param(GOOD, "application/xml", 415, "unsupported-media-type", id="XML"),
    pytest.param(GOOD, "", 415, "unsupported-media-type", id="no media type"),
]


@pytest.mark.parametrize(("body", "media_type", "status", "kind"), REFUSED)
def test_a_body_beyond_the_limits_is_refused_and_stores_nothing(
    world: World, tenant: Tenant, caller: Caller, body: bytes, media_type: str, status: int, kind: str
) -> None:
    # given what is stored
    before = world.stored(tenant)
    # when such a body is posted
    answer = caller.post("/exceptions", data=body, media_type=media_type)
    # then it is refused for what it is, and nothing came of it
    refused(answer, status, kind)
    assert world.stored(tenant) == before


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(sized(MIB), id="1 MiB"),
        pytest.param(orjson.dumps(nested(32)), id="32 levels"),
        pytest.param(orjson.dumps(with_keys(10_000)), id="10,000 keys"),
        pytest.param(GOOD.replace(b'"O-1"', b"18446744073709551615"), id="the greatest 64-bit integer"),
    ],
)
def test_a_body_at_the_limit_is_taken(caller: Caller, body: bytes) -> None:
    assert caller.post("/exceptions", data=body).status_code == 202


def test_a_compressed_body_is_refused(world: World, tenant: Tenant, caller: Caller) -> None:
    refused(caller.post("/exceptions", data=GOOD, Content_Encoding="gzip"), 415, "unsupported-media-type")
    assert world.stored(tenant)["exceptions"] == 0


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"sourceSystem": ""}, "sourceSystem"),
        ({"sourceSystem": "   "}, "sourceSystem"),
        ({"sourceSystem": 5}, "sourceSystem"),
        ({"sourceSystem": "x" * 201}, "sourceSystem"),
        ({"rawPayload": []}, "rawPayload"),
        ({"rawPayload": None}, "rawPayload"),
        ({"severity": "TERRIBLE"}, "severity"),
        ({"occurredAt": "yesterday"}, "occurredAt"),
        ({"occurredAt": 1_700_000_000}, "occurredAt"),
        ({"occurredAt": "2026-01-31T12:00:00"}, "occurredAt"),
        ({"occurredAt": "0001-01-01T00:00:00+14:00"}, "occurredAt"),
        ({"occurredAt": "9999-12-31T23:59:59-14:00"}, "occurredAt"),
        ({"unheardOf": 1}, "unheardOf"),
        ({"entity": {}}, "entity"),
    ],
)
def test_every_fault_is_told_with_its_path(
    world: World, tenant: Tenant, caller: Caller, members: dict[str, Any], path: str
) -> None:
    # when two members are wrong at once
    answer = caller.post("/exceptions", exception(**members, externalId=False))
    # then both are named, and nothing was stored
    paths = {fault["path"] for fault in refused(answer, 422, "invalid")["errors"]}
    assert paths == {path, "externalId"}
    assert not any(world.stored(tenant).values())


def test_no_fault_repeats_what_was_sent(caller: Caller) -> None:
    answer = caller.post("/exceptions", exception(severity="4111-1111-1111-1111", sourceSystem={"pin": "s3cr3t"}))
    refused(answer, 422, "invalid")
    assert "4111" not in answer.text
    assert "s3cr3t" not in answer.text


@pytest.mark.parametrize("key", [None, "", "snt_" + "0" * 64, "x" * 5000, "\u00e9"])
def test_without_a_valid_key_nobody_gets_in(world: World, tenant: Tenant, key: str | None) -> None:
    headers = {} if key is None else {"X-API-KEY": key}
    answer = world.client.post("/exceptions", json=exception(), headers=headers)
    refused(answer, 401, "unauthenticated")
    assert "WWW-Authenticate" in answer.headers
    assert not any(world.stored(tenant).values())


def test_another_tenants_name_in_the_body_is_forbidden(world: World, tenant: Tenant, caller: Caller) -> None:
    # when the body names another tenant
    answer = caller.post("/exceptions", exception(tenantId="somebody-else"))
    # then that is forbidden; its own name is not
    refused(answer, 403, "forbidden")
    assert not any(world.stored(tenant).values())
    assert caller.post("/exceptions", exception(tenantId=tenant.tenant_id)).status_code == 202


def test_a_tenant_that_sends_too_much_waits_and_the_others_do_not(world: World, tenant: Tenant, caller: Caller) -> None:
    # given a tenant whose pack allows one exception a second: a thousand in a thousand seconds
    limit_to(world, tenant, 1.0)
    full = {"items": [{"sourceSystem": "E", "rawPayload": {}}] * 1000}
    assert caller.post("/exceptions/batch", full).json["accepted"] == 1000
    before = world.stored(tenant)
    # when it sends one more
    answer = caller.post("/exceptions", exception())
    # then it is told how long to wait, and nothing was stored
    refused(answer, 429, "rate-limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 1000
    assert world.stored(tenant) == before
    # and another tenant is not held up
    assert world.caller(world.tenant()).post("/exceptions", exception()).status_code == 202


def test_after_the_wait_the_tenant_may_send_again(world: World, tenant: Tenant, caller: Caller) -> None:
    # given a tenant that used up its thousand of this second
    limit_to(world, tenant, 1000.0)
    full = {"items": [{"sourceSystem": "E", "rawPayload": {}}] * 1000}
    caller.post("/exceptions/batch", full)
    answer = caller.post("/exceptions", exception())
    # when it waits as long as it was told to
    if answer.status_code == 429:
        time.sleep(int(answer.headers["Retry-After"]))
    # then it is let in
    assert caller.post("/exceptions", exception()).status_code == 202


def limit_to(world: World, tenant: Tenant, per_second: float) -> None:
    document = {"tenantId": tenant.tenant_id, "domainName": "Any", "rateLimitPerSecond": per_second}
    with unit_of_work(world.system) as transaction:
        stored = put_pack(transaction, tenant.tenant_id, PackKind.TENANT, TENANT_PACK, document, by="test")
        activate_pack(transaction, tenant.tenant_id, PackKind.TENANT, TENANT_PACK, stored.version, datetime.now(UTC))


def test_paths_and_methods_that_are_not_there_are_problems_too(world: World) -> None:
    refused(world.client.get("/nothing/here"), 404, "not-found")
    answer = world.client.delete("/exceptions")
    refused(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"]
