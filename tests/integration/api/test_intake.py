"""What 202 promises: everything of an accepted exception is stored together, one or a thousand at once."""

from __future__ import annotations

import zlib
from typing import Any
from uuid import UUID

import orjson
import pytest

from service.devstack.waiting import wait_until
from service.persistence.database import Role, connect_listener
from service.persistence.ingestion import lane_of
from service.settings import Settings
from tests.integration.api.world import Caller, Tenant, World, exception


def test_an_accepted_exception_is_stored_with_its_event_and_its_work(
    world: World, tenant: Tenant, caller: Caller
) -> None:
    # when an exception is posted
    answer = caller.post(
        "/exceptions",
        exception(externalId="SF-1", severity="HIGH", entity="Settlement", occurredAt="2026-01-31T12:00:00+02:00"),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    # then the answer says where it is
    assert answer.status_code == 202
    exception_id = answer.json["exceptionId"]
    assert UUID(exception_id).version == 7
    assert answer.json == {"exceptionId": exception_id, "sequence": 1, "status": "RECEIVED"}
    assert answer.headers["Location"] == f"/exceptions/{exception_id}"
    # and there it is
    found = caller.get(answer.headers["Location"]).json
    assert found["tenantId"] == tenant.tenant_id
    assert found["status"] == "RECEIVED"
    assert found["stage"] == "intake"
    assert found["externalId"] == "SF-1"
    assert found["reportedSeverity"] == "HIGH"
    assert found["severity"] is None
    assert found["occurredAt"] == "2026-01-31T10:00:00Z"
    assert found["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    # with its first event and its work, ready
    (event,) = caller.timeline(exception_id)
    assert (event["type"], event["position"], event["sequence"], event["stage"]) == (
        "ExceptionIngested",
        1,
        1,
        "intake",
    )
    assert event["traceId"] == found["traceId"]
    assert world.outbox(tenant, exception_id) == [(1, 0, True)]
    assert world.stored(tenant)["exceptions"] == 1


def test_a_payload_is_not_shown_before_intake_has_looked_for_what_is_sensitive(
    world: World, tenant: Tenant, caller: Caller
) -> None:
    # given an exception that nobody worked yet
    exception_id = caller.accepted(exception(rawPayload={"ssn": "078-05-1120"}))
    # then no answer shows its payload
    found = caller.get(f"/exceptions/{exception_id}")
    assert found.json["rawPayload"] is None
    assert found.json["payloadPending"] is True
    for path in (f"/exceptions/{exception_id}", f"/exceptions/{exception_id}/events", "/exceptions?q=078-05"):
        assert "078-05-1120" not in caller.get(path).text
    # when it went past intake without being looked at, as one that was dead-lettered there and discarded
    world.rest(tenant, exception_id, "DISCARDED")
    # then it is still not shown
    assert caller.get(f"/exceptions/{exception_id}").json["rawPayload"] is None
    # when intake has masked it
    world.as_engine(
        tenant,
        lambda t: t.run(
            """UPDATE exceptions SET redacted_payload = '{"ssn": "***"}' WHERE exception_id = %(id)s""",
            {"id": exception_id},
        ),
    )
    # then the masked view is shown
    shown = caller.get(f"/exceptions/{exception_id}").json
    assert (shown["rawPayload"], shown["payloadPending"]) == ({"ssn": "***"}, False)


def test_a_dispatcher_is_woken_when_work_was_committed(migrated: Settings, caller: Caller) -> None:
    # given somebody who listens as dispatchers do
    listener = connect_listener(migrated.database_url, Role.SYSTEM)
    try:
        listener.cursor().execute("LISTEN outbox")
        # when an exception is accepted
        caller.accepted()
        # then it is told

        def untold() -> str | None:
            listener.poll()
            return None if [notice.channel for notice in listener.notifies] == ["outbox"] else "nobody told it"

        wait_until(untold, "the notice", 10)
    finally:
        listener.close()


def test_the_lane_is_the_same_for_everybody_who_computes_it() -> None:
    identifier = UUID("01a205fc-ae0a-74cf-a0b5-232c5ef761ac")
    assert lane_of(identifier.bytes, 4) == zlib.crc32(identifier.bytes) % 4


def test_in_a_batch_each_item_stands_alone(world: World, tenant: Tenant, caller: Caller) -> None:
    # given two good items among five
    items = [exception(), {"sourceSystem": "ERP"}, 17, exception(tenantId="another"), exception(rawPayload={"n": 2})]
    # when they are posted
    answer = caller.post("/exceptions/batch", {"items": items})
    # then the good ones are taken and each of the others is told why not
    assert answer.status_code == 202
    body = answer.json
    assert (body["accepted"], body["rejected"]) == (2, 3)
    assert [one["index"] for one in body["items"]] == [0, 1, 2, 3, 4]
    assert [one.get("problem", {}).get("status") for one in body["items"]] == [None, 422, 422, 403, None]
    assert body["items"][1]["problem"]["errors"] == [{"path": "rawPayload", "message": "is required"}]
    assert world.stored(tenant)["exceptions"] == 2
    # and those taken are there
    for index in (0, 4):
        assert caller.get(f"/exceptions/{body['items'][index]['exceptionId']}").status_code == 200


def test_a_batch_is_judged_item_by_item_also_where_one_cannot_be_stored(
    world: World, tenant: Tenant, caller: Caller
) -> None:
    # given a NUL, an integer beyond 64 bits, 40 levels and 10,001 keys in four of five items
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    payloads = [{"a": "\x00"}, {"a": "BIG"}, {"a": deep}, {f"k{n}": 1 for n in range(10_001)}, {"a": 1}]
    data = orjson.dumps({"items": [exception(rawPayload=payload) for payload in payloads]})
    # when they are posted
    answer = caller.post("/exceptions/batch", data=data.replace(b'"BIG"', b"1" * 25))
    # then only the last is taken
    assert [one.get("problem", {}).get("status") for one in answer.json["items"]] == [422, 422, 422, 422, None]
    assert answer.json["items"][0]["problem"]["errors"][0]["path"] == "rawPayload.a"
    assert world.stored(tenant)["exceptions"] == 1


def test_a_thousand_at_once_are_taken_and_a_thousand_and_one_are_not(
    world: World, tenant: Tenant, caller: Caller
) -> None:
    items = [{"sourceSystem": "ERP", "rawPayload": {"n": n}} for n in range(1001)]
    assert caller.post("/exceptions/batch", {"items": items}).status_code == 422
    assert world.stored(tenant)["exceptions"] == 0
    answer = caller.post("/exceptions/batch", {"items": items[:1000]})
    assert (answer.json["accepted"], answer.json["rejected"]) == (1000, 0)
    assert len({one["exceptionId"] for one in answer.json["items"]}) == 1000
    assert world.stored(tenant) == {**world.stored(tenant), "exceptions": 1000, "events": 1000, "outbox": 1000}


@pytest.mark.parametrize("body", [[], {"items": {}}, {}, {"items": [], "more": 1}, 5])
def test_what_is_no_batch_is_refused_as_a_whole(caller: Caller, body: Any) -> None:
    assert caller.post("/exceptions/batch", data=orjson.dumps(body)).status_code == 422


def test_an_empty_batch_is_taken(caller: Caller) -> None:
    assert caller.post("/exceptions/batch", {"items": []}).json == {"accepted": 0, "rejected": 0, "items": []}


def test_a_batch_may_come_line_by_line(world: World, tenant: Tenant, caller: Caller) -> None:
    lines = [orjson.dumps(exception()), b"", b"{half", b"  ", orjson.dumps(exception(rawPayload={"n": 2})) + b"\r"]
    answer = caller.post("/exceptions/batch", data=b"\n".join(lines), media_type="application/x-ndjson")
    assert [one.get("problem", {}).get("status") for one in answer.json["items"]] == [None, 400, None]
    assert world.stored(tenant)["exceptions"] == 2


EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "urn:erp:eu",
    "type": "SETTLEMENT_FAIL",
    "time": "2026-01-31T12:00:00Z",
    "severity": "LOW",
    "data": {"orderId": "O-1"},
}


def test_a_cloudevent_is_an_exception_in_either_mode(world: World, tenant: Tenant, caller: Caller) -> None:
    # when an event is sent with its attributes in the body
    structured = caller.post("/exceptions", data=orjson.dumps(EVENT), media_type="application/cloudevents+json")
    # and the same event with its attributes in headers
    headers = {f"ce_{name}": value for name, value in EVENT.items() if name != "data"}
    binary = caller.post("/exceptions", EVENT["data"], **headers)
    # then both are the same exception, taken once
    assert (structured.status_code, binary.status_code) == (202, 202)
    assert structured.json == binary.json
    found = caller.get(structured.headers["Location"]).json
    assert (found["sourceSystem"], found["externalId"]) == ("urn:erp:eu", "7")
    assert (found["exceptionType"], found["reportedSeverity"]) == ("SETTLEMENT_FAIL", "LOW")
    assert found["occurredAt"] == "2026-01-31T12:00:00Z"
    assert world.stored(tenant)["exceptions"] == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": None}, "id"),
        ({"source": ""}, "source"),
        ({"type": 5}, "type"),
        ({"specversion": "0.3"}, "specversion"),
        ({"time": "soon"}, "occurredAt"),
        ({"data": "text"}, "data"),
        ({"data": None, "data_base64": "AAAA"}, "data_base64"),
    ],
)
def test_what_is_no_cloudevent_is_refused(
    world: World, tenant: Tenant, caller: Caller, change: dict[str, Any], path: str
) -> None:
    data = orjson.dumps({**EVENT, **change})
    answer = caller.post("/exceptions", data=data, media_type="application/cloudevents+json")
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json["errors"]] == [path]
    assert world.stored(tenant)["exceptions"] == 0
