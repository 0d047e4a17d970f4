"""The same request again works nothing twice, however close together the two come."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.integration.api.world import Caller, Tenant, World, exception, refused

TOGETHER = 8


@pytest.fixture(params=["Idempotency-Key", "externalId"])
def repeatable(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, str]]:
    """A body and headers that name the request."""
    if request.param == "externalId":
        return exception(externalId="SF-1"), {}
    return exception(), {"Idempotency_Key": "k-1"}


def test_the_same_request_again_is_answered_as_before(
    world: World, tenant: Tenant, caller: Caller, repeatable: tuple[dict[str, Any], dict[str, str]]
) -> None:
    # given an accepted request
    body, headers = repeatable
    first = caller.post("/exceptions", body, **headers)
    # when it comes again, its members in another order
    again = caller.post("/exceptions", dict(reversed(body.items())), **headers)
    # then the answer is the same and there is one exception with one piece of work
    assert (again.status_code, again.json, again.headers["Location"]) == (202, first.json, first.headers["Location"])
    stored = world.stored(tenant)
    assert (stored["exceptions"], stored["outbox"]) == (1, 1)
    # and its timeline tells of the repetition
    types = [event["type"] for event in caller.timeline(first.json["exceptionId"])]
    assert types == ["ExceptionIngested", "DuplicateIgnored"]


def test_other_content_under_the_same_key_is_refused(
    world: World, tenant: Tenant, caller: Caller, repeatable: tuple[dict[str, Any], dict[str, str]]
) -> None:
    body, headers = repeatable
    caller.accepted(body, **headers)
    before = world.stored(tenant)
    answer = caller.post("/exceptions", {**body, "rawPayload": {"orderId": "O-2"}}, **headers)
    refused(answer, 422, "key-reused")
    assert world.stored(tenant) == before


def test_requests_at_the_same_moment_end_in_one_exception(
    world: World, tenant: Tenant, repeatable: tuple[dict[str, Any], dict[str, str]]
) -> None:
    # given several senders of the same request
    body, headers = repeatable
    barrier = Barrier(TOGETHER)

    def send(_: int) -> tuple[int, str]:
        sender = Caller(world.client.application.test_client(), tenant.keys["ingest"])
        barrier.wait()
        answer = sender.post("/exceptions", body, **headers)
        return answer.status_code, answer.text

    # when all send at once
    with ThreadPoolExecutor(TOGETHER) as pool:
        answers = list(pool.map(send, range(TOGETHER)))
    # then all get the same answer, and there is one exception
    assert {status for status, _ in answers} == {202}
    assert len({text for _, text in answers}) == 1
    stored = world.stored(tenant)
    assert (stored["exceptions"], stored["outbox"]) == (1, 1)
    assert stored["events"] == TOGETHER


def test_batches_with_the_same_items_in_opposite_order_do_not_block_each_other(world: World, tenant: Tenant) -> None:
    # given batches that name the same 50 exceptions, half of them backwards
    items = [exception(externalId=f"SF-{n}") for n in range(50)]
    orders = [items if n % 2 else items[::-1] for n in range(TOGETHER)]
    barrier = Barrier(TOGETHER)

    def send(order: list[dict[str, Any]]) -> Any:
        sender = Caller(world.client.application.test_client(), tenant.keys["ingest"])
        barrier.wait()
        return sender.post("/exceptions/batch", {"items": order})

    # when they are sent at once, and each has got halfway before any can go on
    claim = """INSERT INTO idempotency_keys (tenant_id, key, request_hash, exception_id, sequence, created_at)
               VALUES (%(t)s, 'external:ERP:SF-25', '', gen_random_uuid(), 1, now())"""
    with ThreadPoolExecutor(TOGETHER) as pool:
        with world.holding(tenant, claim, {"t": tenant.tenant_id}, waiting=TOGETHER):
            sent = [pool.submit(send, order) for order in orders]
        answers = [one.result() for one in sent]
    # then each is answered, and each item is there once
    assert [(answer.status_code, answer.json.get("accepted")) for answer in answers] == [(202, 50)] * TOGETHER
    assert world.stored(tenant)["exceptions"] == 50


def test_a_batch_that_repeats_itself_is_taken_once(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an item twice, and other content under the same external id
    same = exception(externalId="SF-1")
    answer = caller.post("/exceptions/batch", {"items": [same, same, {**same, "severity": "LOW"}]})
    # then the first two are one exception and the third is refused
    first, second, third = answer.json["items"]
    assert first["exceptionId"] == second["exceptionId"]
    assert third["problem"]["status"] == 422
    assert world.stored(tenant)["exceptions"] == 1


def test_a_batch_sent_again_under_its_key_works_nothing_twice(world: World, tenant: Tenant, caller: Caller) -> None:
    # given a batch whose items have no ids of their own
    batch = {"items": [exception(rawPayload={"n": n}) for n in range(3)]}
    first = caller.post("/exceptions/batch", batch, Idempotency_Key="nightly-1")
    # when its sender missed the answer and sends it again
    again = caller.post("/exceptions/batch", batch, Idempotency_Key="nightly-1")
    # then it gets the same ids
    assert again.json == first.json
    assert world.stored(tenant)["exceptions"] == 3


def test_a_new_key_for_a_known_external_id_is_remembered_too(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception that came with its external id alone
    known = caller.accepted(exception(externalId="SF-1"))
    # when it comes with a key as well, and then with the key alone in play
    assert caller.accepted(exception(externalId="SF-1"), Idempotency_Key="k-9") == known
    answer = caller.post("/exceptions", exception(externalId="SF-2"), Idempotency_Key="k-9")
    # then the key belongs to the first exception
    refused(answer, 422, "key-reused")
    assert world.stored(tenant)["exceptions"] == 1


def test_a_key_is_its_tenants_own(world: World, caller: Caller) -> None:
    first = caller.accepted(exception(externalId="SF-1"), Idempotency_Key="k-1")
    other = world.caller(world.tenant()).accepted(exception(externalId="SF-1"), Idempotency_Key="k-1")
    assert first != other


def test_sources_with_colons_in_their_names_do_not_meet(world: World, tenant: Tenant, caller: Caller) -> None:
    caller.accepted(exception(sourceSystem="a:b", externalId="c"))
    caller.accepted(exception(sourceSystem="a", externalId="b:c"))
    assert world.stored(tenant)["exceptions"] == 2


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "\u00fc"])
def test_a_key_that_is_none_is_refused(world: World, tenant: Tenant, caller: Caller, key: str) -> None:
    problem = refused(caller.post("/exceptions", exception(), Idempotency_Key=key), 422, "invalid")
    assert [fault["path"] for fault in problem["errors"]] == ["Idempotency-Key"]
    assert not any(world.stored(tenant).values())
