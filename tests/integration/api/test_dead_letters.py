"""Dead letters over HTTP: what failed, since when, how often it was tried, and what failed of the same cause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.errors import PayloadInvalidError
from service.domain.exceptions import Stage
from service.engine.failures import ToolRefusedError, ToolUnavailableError
from tests.integration.api.dying import dies, is_retried, is_settled
from tests.integration.api.world import Caller, Tenant, World, exception, refused

NOBODYS = "01a205fc-ae0a-74cf-a0b5-232c5ef761ac"


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["deadLetterId"] for one in answer.json["items"]]


@pytest.fixture
def six(world: World, tenant: Tenant, caller: Caller) -> list[str]:
    """Six dead letters a minute apart, oldest first: three of a tool, two of a payload, one that is discarded."""
    start = datetime.now(UTC) - timedelta(minutes=10)
    errors = [ToolRefusedError("tool 'settle' answered 422")] * 2
    errors += [ToolUnavailableError("tool 'settle' answered 503")]
    letters = []
    for number in range(6):
        body = exception(sourceSystem=f"S{number % 2}", exceptionType="A" if number < 4 else "B")
        at = start + timedelta(minutes=number)
        if number < 3:
            letters.append(dies(world, tenant, caller.accepted(body), errors[number], at=at, attempts=number + 1))
        else:
            wrong = PayloadInvalidError([f"rawPayload.amount is required (number) and missing, line {number}"])
            letter = dies(world, tenant, caller.accepted(body), wrong, stage=Stage.INTAKE, tool=None, at=at)
            letters.append(letter)
    is_settled(world, tenant, letters[5], "discarded")
    return letters


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("", [4, 3, 2, 1, 0]),
        ("state=discarded", [5]),
        ("state=pending,discarded", [5, 4, 3, 2, 1, 0]),
        ("state=redriving&state=succeeded", []),
        ("stage=tool", [2, 1, 0]),
        ("stage=intake,tool&state=discarded", [5]),
        ("errorClass=ToolRefused", [1, 0]),
        ("errorKind=transient", [2]),
        ("errorKind=permanent,poison", [4, 3, 1, 0]),
        ("tool=settle", [2, 1, 0]),
        ("exceptionType=B", [4]),
        ("sourceSystem=S1", [3, 1]),
        ("q=AMOUNT", [4, 3]),
        ("q=503", [2]),
        ("q=%25", []),
        ("from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z", [4, 3, 2, 1, 0]),
        ("to=2020-01-01T00:00:00Z", []),
        ("signature=0123456789abcdef", []),
    ],
)
def test_a_list_is_narrowed(caller: Caller, six: list[str], query: str, places: list[int]) -> None:
    assert ids(caller.get(f"/dlq?{query}")) == [six[place] for place in places]


def test_a_list_is_narrowed_to_one_cause(caller: Caller, six: list[str]) -> None:
    (first,) = (one for one in caller.get("/dlq").json["items"] if one["deadLetterId"] == six[0])
    assert ids(caller.get(f"/dlq?signature={first['signature']}")) == [six[1], six[0]]


@pytest.mark.parametrize("query", ["", "&state=pending,discarded", "&stage=tool"])
def test_pages_give_everything_once_and_in_order(
    world: World, tenant: Tenant, caller: Caller, six: list[str], query: str
) -> None:
    # when a list is read page by page while more comes in
    expected = ids(caller.get(f"/dlq?limit=200{query}"))
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = caller.get(f"/dlq?limit=2{query}" + (f"&cursor={quote(cursor)}" if cursor else ""))
        assert len(page.json["items"]) <= 2
        found += ids(page)
        cursor = page.json["nextCursor"]
        dies(world, tenant, caller.accepted())
    # then each that was there is found once, in order
    assert [one for one in found if one in six] == expected
    assert len(found) == len(set(found))


@pytest.mark.parametrize("path", ["/dlq", "/dlq/clusters"])
@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("limit=0", "limit"),
        ("state=lost", "state[0]"),
        ("stage=end", "stage[0]"),
        ("errorKind=odd", "errorKind[0]"),
        ("signature=xyz", "signature"),
        ("from=yesterday", "from"),
        ("q=", "q"),
        ("cursor=%21", "cursor"),
        ("cursor=ZGxxIDFfMg", "cursor"),
        ("cursor=Y2x1c3RlcnMtY291bnQgeF95", "cursor"),
        ("unheardOf=1", "unheardOf"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(caller: Caller, path: str, query: str, fault: str) -> None:
    problem = refused(caller.get(f"{path}?{query}"), 422, "invalid")
    assert [one["path"] for one in problem["errors"]] == [fault]


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
NAMES = ["limit", "cursor", "state", "stage", "errorClass", "errorKind", "signature", "tool", "from", "to", "q", "sort"]


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(query=st.dictionaries(st.sampled_from(NAMES), texts, max_size=3), path=st.sampled_from(["", "/clusters"]))
def test_every_question_is_answered(world: World, tenant: Tenant, query: dict[str, str], path: str) -> None:
    answer = world.client.get(f"/dlq{path}", query_string=query, headers={"X-API-KEY": tenant.keys["ingest"]})
    assert answer.status_code in (200, 422), answer.text


def test_a_dead_letter_tells_its_story(world: World, tenant: Tenant, caller: Caller) -> None:
    # given an exception whose tool failed three times, the last time for good, with two inputs that came later
    start = datetime.now(UTC) - timedelta(minutes=5)
    exception_id = caller.accepted(exception(externalId="SF-1"))
    for number in (1, 2):
        is_retried(world, tenant, exception_id, "tool 'settle' answered 503", number, start + timedelta(minutes=number))
    evidence = {"step": "2", "stepName": "Settle"}
    error = ToolUnavailableError("tool 'settle' answered 503")
    died_at = start + timedelta(minutes=3)
    letter = dies(world, tenant, exception_id, error, at=died_at, attempts=3, evidence=evidence)
    for text in ("one", "two"):
        caller.post(f"/exceptions/{exception_id}/events", {"type": "comment", "data": {"text": text}})
    # when it is looked at with the least of keys
    told = world.caller(tenant, "ingest").get(f"/dlq/{letter}").json
    # then it says what failed where, since when, and how often it was tried
    assert (told["stage"], told["errorClass"], told["errorKind"], told["tool"]) == (
        "tool", "ToolUnavailable", "transient", "settle",
    )  # fmt: skip
    assert told["message"] == "tool 'settle' answered 503; it is called again by itself"
    assert told["pattern"] == told["message"]
    assert (told["state"], told["attempts"], told["redrives"], told["blocking"]) == ("pending", 3, 0, 2)
    assert datetime.fromisoformat(told["firstDeadLetteredAt"]) == died_at
    history = [(one["outcome"], one["attempt"], one["errorClass"]) for one in told["history"]]
    assert history == [
        ("retried", 1, "ToolUnavailable"), ("retried", 2, "ToolUnavailable"), ("deadLettered", 3, "ToolUnavailable"),
    ]  # fmt: skip
    assert [datetime.fromisoformat(one["at"]) for one in told["history"]] == [
        start + timedelta(minutes=minutes) for minutes in (1, 2, 3)
    ]
    # and what is known besides, what happened last, and how to read the payload, which is not there
    assert told["evidence"] == evidence
    assert [one["type"] for one in told["lastEvents"]] == [
        "ExceptionIngested", "RetryScheduled", "RetryScheduled", "DeadLettered", "ExceptionUpdated", "ExceptionUpdated",
    ]  # fmt: skip
    assert told["payload"] == {"method": "POST", "path": f"/exceptions/{exception_id}/payload", "role": "operator"}
    assert (told["externalId"], told["exceptionStatus"]) == ("SF-1", "DEAD_LETTERED")
    # and its event in the log names it
    event = next(one for one in told["lastEvents"] if one["type"] == "DeadLettered")
    names = ("deadLetterId", "signature", "tool", "errorKind", "attempts")
    assert {name: event["data"][name] for name in names} == {name: told[name] for name in names}


def test_an_input_that_fails_again_is_the_same_dead_letter(world: World, tenant: Tenant, caller: Caller) -> None:
    # given a dead letter that was sent again
    exception_id = caller.accepted()
    first = datetime.now(UTC) - timedelta(hours=1)
    letter = dies(world, tenant, exception_id, at=first)
    is_settled(world, tenant, letter, "redriving")
    statement = "UPDATE exceptions SET status = 'IN_PROGRESS' WHERE exception_id = %(id)s"
    world.as_engine(tenant, lambda t: t.run(statement, {"id": exception_id}))
    # when it fails again, of another cause
    assert dies(world, tenant, exception_id, ToolRefusedError("tool 'settle' answered 404")) == letter
    # then it is pending again, and tells both
    told = caller.get(f"/dlq/{letter}").json
    assert (told["state"], told["settledAt"]) == ("pending", None)
    assert "404" in told["message"]
    assert datetime.fromisoformat(told["firstDeadLetteredAt"]) == first
    assert datetime.fromisoformat(told["deadLetteredAt"]) > first
    assert [one["outcome"] for one in told["history"]] == ["deadLettered", "deadLettered"]
    assert len({one["signature"] for one in caller.get("/dlq").json["items"]}) == 1
    assert told["position"] == told["lastEvents"][-1]["position"]


def test_failures_of_one_cause_are_one_cluster(world: World, tenant: Tenant, caller: Caller, six: list[str]) -> None:
    # when the clusters are asked for
    answer = caller.get("/dlq/clusters").json
    # then failures that differ in numbers only are together, and those of different causes are not
    clusters = {(one["errorClass"], one["count"]): one for one in answer["items"]}
    assert set(clusters) == {("PayloadInvalid", 2), ("ToolRefused", 2), ("ToolUnavailable", 1)}
    assert [one["count"] for one in answer["items"]] == [2, 2, 1]
    payload = clusters["PayloadInvalid", 2]
    # and each tells what it is about and since when
    assert payload["pattern"] == "rawPayload.amount is required (number) and missing, line <number>"
    assert (payload["stage"], payload["tool"], payload["errorKind"]) == ("intake", None, "permanent")
    assert payload["byState"] == {"pending": 2, "redriving": 0, "succeeded": 0, "discarded": 1}
    assert payload["example"]["deadLetterId"] == six[4]
    assert payload["exceptionTypes"] == [
        {"exceptionType": "A", "count": 1}, {"exceptionType": "B", "count": 1},
    ]  # fmt: skip
    last, first = datetime.fromisoformat(payload["lastSeen"]), datetime.fromisoformat(payload["firstSeen"])
    assert last - first == timedelta(minutes=2)
    assert clusters["ToolRefused", 2]["tool"] == "settle"


def test_a_cluster_has_its_trend(world: World, tenant: Tenant, caller: Caller) -> None:
    # given failures of one cause in this hour, five hours ago and the day before yesterday
    now = datetime.now(UTC)
    for hours, number in ((0.5, 3), (5.5, 2), (50, 1)):
        for _ in range(number):
            dies(world, tenant, caller.accepted(), at=now - timedelta(hours=hours))
    # then the trend has each in its hour, as far as it goes back
    (cluster,) = caller.get("/dlq/clusters").json["items"]
    assert cluster["count"] == 6
    expected = [0] * 24
    expected[-1], expected[-6] = 3, 2
    assert cluster["trend"] == {"bucketSeconds": 3600, "counts": expected}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort=-lastSeen", ["PayloadInvalid", "ToolUnavailable", "ToolRefused"]),
        ("state=discarded", ["PayloadInvalid"]),
        ("state=succeeded", []),
        ("stage=tool&sort=-lastSeen", ["ToolUnavailable", "ToolRefused"]),
        ("errorKind=transient", ["ToolUnavailable"]),
        ("exceptionType=B", ["PayloadInvalid"]),
        ("q=422", ["ToolRefused"]),
    ],
)
def test_clusters_are_sorted_and_narrowed(caller: Caller, six: list[str], query: str, expected: list[str]) -> None:
    answer = caller.get(f"/dlq/clusters?{query}")
    assert [one["errorClass"] for one in answer.json["items"]] == expected


@pytest.mark.parametrize("sort", ["-count", "-lastSeen"])
def test_clusters_have_pages(caller: Caller, six: list[str], sort: str) -> None:
    whole = [one["signature"] for one in caller.get(f"/dlq/clusters?sort={sort}").json["items"]]
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = caller.get(f"/dlq/clusters?limit=1&sort={sort}" + (f"&cursor={quote(cursor)}" if cursor else "")).json
        found += [one["signature"] for one in page["items"]]
        cursor = page["nextCursor"]
    assert found == whole
    assert len(found) == 3


def test_a_cursor_is_of_one_list_only(caller: Caller, six: list[str]) -> None:
    of_list = caller.get("/dlq?limit=1").json["nextCursor"]
    of_clusters = caller.get("/dlq/clusters?limit=1").json["nextCursor"]
    refused(caller.get(f"/dlq/clusters?cursor={of_list}"), 422, "invalid")
    refused(caller.get(f"/dlq?cursor={of_clusters}"), 422, "invalid")
    refused(caller.get(f"/dlq/clusters?sort=-lastSeen&cursor={of_clusters}"), 422, "invalid")


def test_another_tenant_s_dead_letters_are_nobody_s(world: World, caller: Caller, six: list[str]) -> None:
    # given another tenant with a failure of the same cause
    other_tenant = world.tenant()
    other = world.caller(other_tenant)
    own = dies(world, other_tenant, other.accepted())
    # then each sees its own, alone or put together
    assert ids(other.get("/dlq?state=pending,discarded")) == [own]
    (cluster,) = other.get("/dlq/clusters").json["items"]
    assert (cluster["count"], cluster["example"]["deadLetterId"]) == (1, own)
    # and asks for the others' as for what never was
    never = refused(other.get(f"/dlq/{NOBODYS}"), 404, "not-found")["detail"]
    for one in (six[0], "nothing"):
        assert refused(other.get(f"/dlq/{one}"), 404, "not-found")["detail"] == never
    assert ids(other.get(f"/dlq?q={six[0]}")) == []


def test_reading_needs_a_key(world: World, six: list[str]) -> None:
    for path in ("/dlq", "/dlq/clusters", f"/dlq/{six[0]}"):
        assert world.client.get(path).status_code == 401
