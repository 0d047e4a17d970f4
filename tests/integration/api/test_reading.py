"""Lists, pages, filters and the ledger."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.api.world import Caller, Tenant, World, exception, refused


@pytest.fixture
def twelve(caller: Caller) -> list[str]:
    """Twelve exceptions of two sources, oldest first."""
    items = [
        exception(sourceSystem=f"S{n % 2}", exceptionType=f"T{n % 3}", externalId=f"100%_{n:02}") for n in range(12)
    ]
    return [one["exceptionId"] for one in caller.post("/exceptions/batch", {"items": items}).json["items"]]


def ids(answer: Any) -> list[str]:
    return [one["exceptionId"] for one in answer.json["items"]]


@pytest.mark.parametrize("sort", ["-receivedAt", "receivedAt"])
def test_pages_give_everything_once_and_in_order(caller: Caller, twelve: list[str], sort: str) -> None:
    # when a list is read page by page while more comes in
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = caller.get(f"/exceptions?limit=5&sort={sort}" + (f"&cursor={quote(cursor)}" if cursor else ""))
        assert len(page.json["items"]) <= 5
        found += ids(page)
        cursor = page.json["nextCursor"]
        if sort == "-receivedAt":
            caller.accepted()
    # then each of those that were there is found once, in order
    assert [one for one in found if one in twelve] == (twelve if sort == "receivedAt" else twelve[::-1])
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("sourceSystem=S1", [1, 3, 5, 7, 9, 11]),
        ("exceptionType=T2", [2, 5, 8, 11]),
        ("sourceSystem=S1&exceptionType=T2", [5, 11]),
        ("status=RECEIVED", list(range(12))),
        ("status=RECEIVED,RESOLVED&status=CANCELLED&limit=200", list(range(12))),
        ("status=RESOLVED", []),
        ("severity=LOW,HIGH", []),
        ("q=100%25_07", [7]),
        ("q=100%25", list(range(12))),
        ("q=%25%25", []),
        ("q=_", list(range(12))),
        ("q=t1", [1, 4, 7, 10]),
        ("from=2020-01-01T00:00:00Z", list(range(12))),
        ("to=2020-01-01T00:00:00Z", []),
        ("from=8999-01-01T00:00:00Z", []),
        ("from=1970-01-01T00:00:00Z&to=9000-01-01T00:00:00Z", list(range(12))),
    ],
)
def test_a_list_is_narrowed(caller: Caller, twelve: list[str], query: str, places: list[int]) -> None:
    answer = caller.get(f"/exceptions?sort=receivedAt&{query}")
    assert answer.status_code == 200, answer.text
    assert ids(answer) == [twelve[place] for place in places]


def test_a_list_is_narrowed_to_a_time_exactly(caller: Caller) -> None:
    # given two exceptions, one after the other
    first, second = caller.accepted(), caller.accepted()
    moment = caller.get(f"/exceptions/{second}").json["receivedAt"]
    # then `from` includes its moment and `to` does not
    assert ids(caller.get(f"/exceptions?from={moment}")) == [second]
    assert ids(caller.get(f"/exceptions?to={moment}")) == [first]
    later = datetime.fromisoformat(moment) + timedelta(microseconds=1)
    assert ids(caller.get(f"/exceptions?to={quote(later.isoformat())}")) == [second, first]


def test_an_exception_is_found_by_its_id(caller: Caller, twelve: list[str]) -> None:
    assert ids(caller.get(f"/exceptions?q={twelve[3]}")) == [twelve[3]]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("status=HAPPY", "status[0]"),
        ("severity=low", "severity[0]"),
        ("from=yesterday", "from"),
        ("from=2026-01-01T00:00:00", "from"),
        ("sort=name", "sort"),
        ("q=", "q"),
        ("q=%00", "q"),
        ("q=" + "x" * 101, "q"),
        ("cursor=%21", "cursor"),
        ("cursor=YWJj", "cursor"),
        ("cursor=" + "A" * 300, "cursor"),
        ("unheardOf=1", "unheardOf"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(caller: Caller, query: str, path: str) -> None:
    problem = refused(caller.get(f"/exceptions?{query}"), 422, "invalid")
    assert [fault["path"] for fault in problem["errors"]] == [path]


def test_a_cursor_is_of_one_list_only(caller: Caller, twelve: list[str]) -> None:
    cursor = caller.get("/exceptions?limit=1").json["nextCursor"]
    refused(caller.get(f"/exceptions?sort=receivedAt&cursor={cursor}"), 422, "invalid")
    refused(caller.get(f"/exceptions/{twelve[0]}/events?cursor={cursor}"), 422, "invalid")


def test_a_timeline_has_pages(caller: Caller) -> None:
    # given an exception to which five things happened
    exception_id = caller.accepted()
    for number in range(4):
        body = {"type": "comment", "data": {"text": str(number)}}
        caller.post(f"/exceptions/{exception_id}/events", body)
    # when its timeline is read two by two
    positions = []
    cursor: str | None = ""
    while cursor is not None:
        page = caller.get(f"/exceptions/{exception_id}/events?limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        positions += [event["position"] for event in page["items"]]
        cursor = page["nextCursor"]
    # then all of it is there, in order, each event with an id of its own that stays
    assert positions == [1, 2, 3, 4, 5]
    events = caller.timeline(exception_id)
    assert len({event["eventId"] for event in events}) == 5
    assert caller.timeline(exception_id) == events


def test_the_ledger_says_where_everything_is(world: World, tenant: Tenant, caller: Caller) -> None:
    # given exceptions in every state
    states = {
        "RECEIVED": "inFlight", "IN_PROGRESS": "inFlight", "PENDING_APPROVAL": "waiting", "PENDING_STEP": "waiting",
        "RESOLVED": "resolved", "ESCALATED": "escalated", "CANCELLED": "cancelled", "DEAD_LETTERED": "deadLettered",
        "DISCARDED": "discarded",
    }  # fmt: skip
    for state in states:
        world.rest(tenant, caller.accepted(), state)
    # then each is counted where it is, and the books balance
    books = caller.get("/ledger").json
    assert books == {
        "accepted": 9, "inFlight": 2, "waiting": 2, "resolved": 1, "escalated": 1, "cancelled": 1, "deadLettered": 1,
        "discarded": 1, "balanced": True,
    }  # fmt: skip
    # when something is in a state that no book knows
    lost = caller.accepted()
    world.rest(tenant, lost, "LOST")
    # then they do not
    assert caller.get("/ledger").json["balanced"] is False
    world.rest(tenant, lost, "RESOLVED")


def test_the_ledger_of_a_tenant_that_sent_nothing_balances(caller: Caller) -> None:
    assert caller.get("/ledger").json == {
        "accepted": 0, "inFlight": 0, "waiting": 0, "resolved": 0, "escalated": 0, "cancelled": 0, "deadLettered": 0,
        "discarded": 0, "balanced": True,
    }  # fmt: skip
