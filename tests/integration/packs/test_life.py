"""A pack's life over HTTP on a real database: drafts, tests, activation at an instant, history, rollback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg2.errors
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from service.devstack.waiting import wait_until
from service.domain.exceptions import Stage
from service.persistence.unit_of_work import unit_of_work
from tests.integration.packs.desk import Desk, domain, new_source, severity

pytestmark = pytest.mark.stack

PACK = "/packs/domain/Deliveries"
FAILING = {
    "testSuites": [{"name": "hope", "input": {"exceptionType": "LATE"}, "expectedOutput": {"severity": "CRITICAL"}}]
}


def test_a_pack_is_a_draft_until_it_is_activated_and_what_is_decided_keeps_its_version(desk: Desk) -> None:
    # given a version in force and an exception that it decided
    desk.begin()
    first = desk.receive()
    desk.decide(first)
    # when a second version is stored
    desk.put(**severity("HIGH"))
    # then it decides nothing yet
    second = desk.receive()
    desk.decide(second)
    assert (desk.row(second).severity, desk.row(second).domain_version) == ("LOW", 1)
    states = [one["state"] for one in desk.done("GET", f"{PACK}/versions")["items"]]
    assert states == ["active", "draft"]
    # when it is activated
    desk.activate(2, comment="parcels matter")
    third = desk.receive()
    desk.decide(third)
    # then the next exception is decided with it, and the others keep theirs
    assert (desk.row(third).severity, desk.row(third).domain_version) == ("HIGH", 2)
    assert desk.row(first).domain_version == 1
    states = [one["state"] for one in desk.done("GET", f"{PACK}/versions")["items"]]
    assert states == ["retired", "active"]


def test_all_faults_of_a_pack_come_in_one_answer_with_their_lines(desk: Desk) -> None:
    text = "\n".join(
        [
            "domainName: Deliveries",
            "severityRules:",
            "  - condition: exceptionType ==",
            "    severity: HIGH",
            "  - condition: 'true'",
            "    severity: AWFUL",
        ]
    )
    for call in (("POST", f"{PACK}/validate"), ("PUT", PACK)):
        answer = desk.call(*call, text=text)
        assert answer.status_code == 422
        assert answer.content_type == "application/problem+json"
        told = {(fault["path"], fault["line"]) for fault in answer.json["errors"]}
        assert told == {("severityRules[0].condition", 3), ("severityRules[1].severity", 6)}
    assert desk.call("GET", PACK).status_code == 404


@pytest.mark.parametrize(
    ("path", "text", "status"),
    [
        (PACK, "domainName: [", 400),
        ("/packs/domain/Other", "domainName: Deliveries", 422),
        ("/packs/tenant", "domainName: Deliveries", 422),
        ("/packs/tenant", "{tenantId: somebody-else, domainName: Deliveries}", 422),
    ],
    ids=["unreadable", "another name", "another kind", "another tenant"],
)
def test_a_body_that_is_not_the_pack_of_the_path_is_refused(desk: Desk, path: str, text: str, status: int) -> None:
    answer = desk.call("PUT", path, text=text)
    assert answer.status_code == status, answer.text
    assert answer.json["errors"]


@pytest.mark.parametrize(
    "text",
    [
        '{"domainName": "Deliveries", "x": 123456789012345678901234567890}',
        '{"domainName": "Deliveries", "x": "\\u0000"}',
        '{"domainName": "Deliveries", "x": 1e999}',
        '{"domainName": "Deliveries", "x": "\\ud800"}',
        "domainName: Deliveries\nx: &x\n  again: *x\n",
        "[" * 10_000,
    ],
)
def test_what_no_database_keeps_as_it_is_given_is_a_fault(desk: Desk, text: str) -> None:
    answer = desk.call("PUT", PACK, text=text)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json["errors"]


def test_a_name_or_comment_that_cannot_be_stored_is_refused(desk: Desk) -> None:
    assert desk.call("GET", "/packs/domain/%00").status_code == 404
    assert desk.call("PUT", f"{PACK}?comment=%00", domain()).status_code == 422
    assert desk.call("PUT", f"{PACK}?why=because", domain()).status_code == 422
    desk.done("PUT", f"{PACK}?comment=because", domain())
    assert desk.done("GET", PACK)["comment"] == "because"


def test_a_change_made_on_an_old_version_is_not_stored(desk: Desk) -> None:
    # given two people who read the same version
    desk.put()
    tag = desk.call("GET", PACK).headers["ETag"]
    # when both send a change
    first = desk.call("PUT", PACK, domain(**severity("HIGH")), If_Match=tag)
    second = desk.call("PUT", PACK, domain(**severity("CRITICAL")), If_Match=tag)
    # then the second is told, and can go on from what there is
    assert (first.status_code, second.status_code) == (200, 412)
    assert second.headers["ETag"] == first.headers["ETag"] == desk.call("GET", PACK).headers["ETag"]
    assert desk.call("PUT", PACK, domain(), If_None_Match="*").status_code == 412


def test_a_version_whose_tests_fail_needs_a_reason_and_the_history_keeps_it(desk: Desk) -> None:
    # given a version whose suite expects what it does not say
    desk.begin()
    version = desk.put(**FAILING)
    # when it is activated
    refused = desk.call("POST", f"{PACK}/activate", {"version": version})
    # then it is not, the case is told, and the report is kept with the draft
    assert (refused.status_code, refused.json["type"]) == (409, "/docs#tests-fail")
    assert "expected 'CRITICAL', the pack says 'LOW'" in refused.json["errors"][0]["message"]
    shown = desk.done("GET", f"{PACK}/versions/{version}")
    assert (shown["state"], shown["test"]) == ("draft", {"passed": 0, "failed": 1})
    # when somebody gives a reason
    desk.activate(version, force="the case is wrong, ticket 17", comment="new rules")
    # then the history tells who, what and why
    newest = desk.done("GET", f"{PACK}/history")["items"][0]
    assert newest["version"] == version
    assert (newest["recordedBy"], newest["comment"], newest["forced"]) == (
        "the admin",
        "new rules",
        "the case is wrong, ticket 17",
    )
    # and a reason that was not needed is none
    desk.activate(desk.put(), force="just in case")
    assert desk.done("GET", f"{PACK}/history")["items"][0]["forced"] is None


def test_a_version_that_does_not_fit_the_other_pack_is_refused_whatever_the_reason(desk: Desk) -> None:
    # given a tenant pack that names a type of its domain
    desk.begin()
    desk.put_tenant(customSeverityOverrides=[{"exceptionType": "LOST", "severity": "HIGH"}])
    desk.done("POST", "/packs/tenant/activate", {})
    # when a domain without that type is to be activated
    version = desk.put(exceptionTypes={"LATE": {}})
    answer = desk.call("POST", f"{PACK}/activate", {"version": version, "force": "I want it"})
    # then it is refused, for nothing could be decided any more
    assert (answer.status_code, answer.json["type"]) == (409, "/docs#pack-conflict")
    assert "LOST" in answer.json["errors"][0]["message"]


def test_one_call_goes_back_to_the_version_before_and_another_one_further(desk: Desk) -> None:
    # given three versions that were in force one after the other
    desk.begin()
    for name in ("MEDIUM", "HIGH"):
        desk.activate(desk.put(**severity(name)))
    # when the last one turns out bad
    back = desk.done("POST", f"{PACK}/rollback", {"comment": "too many approvals"})
    assert back["activeVersion"] == 2
    exception_id = desk.receive()
    desk.decide(exception_id)
    assert desk.row(exception_id).severity == "MEDIUM"
    # and again
    assert desk.done("POST", f"{PACK}/rollback")["activeVersion"] == 1
    assert desk.call("POST", f"{PACK}/rollback").status_code == 409
    actions = [(one["action"], one["version"]) for one in desk.done("GET", f"{PACK}/history")["items"]]
    assert actions == [("rollback", 1), ("rollback", 2), ("activate", 3), ("activate", 2), ("activate", 1)]


def test_an_immediate_activation_decides_everything_that_is_not_decided_yet(desk: Desk) -> None:
    # given an exception that was received while a bad version was in force, and has not been worked
    desk.begin()
    waiting = desk.receive()
    # when another version is activated at once
    desk.activate(desk.put(**severity("HIGH")))
    desk.decide(waiting)
    # then it is decided with that one
    assert desk.row(waiting).severity == "HIGH"


def test_what_was_received_decides_which_side_of_an_instant_an_exception_is_on(desk: Desk) -> None:
    # given a worker that has decided with the version in force
    desk.begin()
    source = new_source()
    desk.decide(desk.receive(), source=source)
    # when another one is scheduled a moment ahead
    instant = datetime.now(UTC) + timedelta(seconds=1.0)
    told = desk.activate(desk.put(**severity("HIGH")), at=instant.isoformat())
    assert (told["state"], told["activeVersion"]) == ("scheduled", 1)
    # and exceptions are received before and after it
    sides = {
        desk.receive(instant - timedelta(microseconds=1)): "LOW",
        desk.receive(instant): "HIGH",
        desk.receive(instant + timedelta(seconds=5)): "HIGH",
    }
    wait_until(lambda: None if datetime.now(UTC) > instant else "the instant is ahead", "the instant", 20)
    # then the worker that knew the old version and one that knew nothing decide alike, by the time of receipt
    before, *after = sides
    desk.decide(before, after[0], source=source)
    desk.decide(after[1], source=new_source())
    assert {one: desk.row(one).severity for one in sides} == sides
    assert [one["state"] for one in desk.done("GET", f"{PACK}/versions")["items"]] == ["retired", "active"]


def test_no_exception_received_after_a_committed_instant_is_decided_by_the_old_version(desk: Desk) -> None:
    # given workers that never stop deciding
    desk.begin()
    decided: list[tuple[datetime, int]] = []
    stop = threading.Event()

    def work() -> None:
        source = new_source()
        while not stop.is_set():
            exception_id = desk.receive()
            desk.decide(exception_id, source=source, last=Stage.INTAKE)
            row = desk.row(exception_id)
            decided.append((row.received_at, row.domain_version))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    # when versions are scheduled so close ahead that any memory of the one before would still be fresh
    scheduled = []
    for number, name in enumerate(("MEDIUM", "HIGH", "CRITICAL"), start=2):
        version = desk.put(**severity(name))
        instant = datetime.now(UTC) + timedelta(seconds=0.7)
        assert desk.call("POST", f"{PACK}/activate", {"version": version, "at": instant.isoformat()}).status_code == 200
        scheduled.append((number, instant, max(instant, datetime.now(UTC))))
        wait_until(lambda: None if decided[-1][0] > scheduled[-1][2] else "nothing after it", "a decision", 30)
    stop.set()
    for worker in workers:
        worker.join(30)
    # then each exception was decided by the version whose instant was the last before its receipt; between an instant
    # and a commit that a slow machine made late, either may have
    for received_at, version in decided:
        possible = max([1, *(number for number, instant, _ in scheduled if instant <= received_at)])
        certain = max([1, *(number for number, _, committed in scheduled if committed <= received_at)])
        assert certain <= version <= possible
    assert {version for _, version in decided} == {1, 2, 3, 4}


def test_what_is_scheduled_can_be_taken_back_until_it_comes(desk: Desk) -> None:
    desk.begin()
    version = desk.put(**severity("HIGH"))
    desk.activate(version, at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    # when it is taken back
    told = desk.done("POST", f"{PACK}/rollback", {"scheduled": True, "comment": "not yet"})
    # then it never comes, and the history tells that it was meant to
    assert (told["activeVersion"], told["withdrawn"]) == (1, [version])
    assert [one["state"] for one in desk.done("GET", f"{PACK}/versions")["items"]] == ["active", "draft"]
    history = desk.done("GET", f"{PACK}/history")["items"]
    assert [(one["action"], one["withdrawn"]) for one in history[:2]] == [("withdraw", False), ("activate", True)]
    assert desk.call("POST", f"{PACK}/rollback", {"scheduled": True}).status_code == 409
    past = desk.call("POST", f"{PACK}/activate", {"version": version, "at": "2020-01-01T00:00:00Z"})
    assert past.status_code == 409


def test_a_comment_leaves_an_exception_with_the_packs_it_was_decided_with(desk: Desk) -> None:
    # given an exception that rests with a plan of version 1
    desk.begin(playbooks=[{"name": "ask", "exceptionType": "LATE", "steps": [{"action": "Ask the carrier"}]}])
    exception_id = desk.receive()
    desk.decide(exception_id)
    assert desk.row(exception_id).status == "PENDING_STEP"
    # when another version is in force and somebody comments
    desk.activate(desk.put(**severity("HIGH")))
    answer = desk.call("POST", f"/exceptions/{exception_id}/events", {"type": "comment", "data": {"text": "soon"}})
    assert answer.status_code == 202
    desk.decide_input(exception_id, 2)
    # then it still has the packs that its plan was made with
    assert (desk.row(exception_id).status, desk.row(exception_id).domain_version) == ("PENDING_STEP", 1)


def test_a_tenant_sees_and_changes_no_packs_but_its_own(desk_of: Callable[[], Desk]) -> None:
    # given a tenant with packs, and another one
    owner, other = desk_of(), desk_of()
    owner.begin()
    # then the other sees nothing of them and can do nothing with them
    assert other.done("GET", "/packs")["items"] == []
    for method, path in (
        ("GET", PACK),
        ("GET", f"{PACK}/versions"),
        ("GET", f"{PACK}/versions/1"),
        ("GET", f"{PACK}/versions/1/backtest"),
        ("GET", f"{PACK}/history"),
        ("POST", f"{PACK}/test"),
        ("POST", f"{PACK}/backtest"),
        ("POST", f"{PACK}/activate"),
        ("POST", f"{PACK}/rollback"),
        ("GET", "/packs/tenant"),
    ):
        assert other.call(method, path).status_code == 404, path
    # and a pack of the same name is another one
    assert other.put(**severity("HIGH")) == 1
    assert owner.done("GET", PACK)["document"]["severityRules"][0]["severity"] == "LOW"


@pytest.mark.parametrize(
    ("role", "allowed"), [("ingest", set()), ("operator", {"read", "try"}), ("admin", {"read", "try", "change"})]
)
def test_operators_read_and_try_and_admins_change(desk: Desk, role: str, allowed: set[str]) -> None:
    desk.begin()
    calls = {
        "read": [("GET", PACK, None), ("GET", f"{PACK}/history", None), ("GET", "/packs", None)],
        "try": [("POST", f"{PACK}/validate", domain()), ("POST", f"{PACK}/test", {}), ("POST", f"{PACK}/backtest", {})],
        "change": [("PUT", PACK, domain()), ("POST", f"{PACK}/activate", {}), ("POST", f"{PACK}/rollback", {})],
    }
    for what, asked in calls.items():
        for method, path, body in asked:
            status = desk.call(method, path, body, role=role).status_code
            assert (status != 403) == (what in allowed), (path, status)


def test_two_who_activate_at_once_are_judged_one_after_the_other(desk: Desk) -> None:
    # given many versions
    desk.begin()
    versions = [desk.put(**severity(name)) for name in ("MEDIUM", "HIGH", "CRITICAL")]
    # when all are activated at once
    threads = [threading.Thread(target=desk.activate, args=(version,)) for version in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # then the history has each once, and the last one decides
    items = desk.done("GET", f"{PACK}/history")["items"]
    assert [one["number"] for one in items] == [4, 3, 2, 1]
    assert {one["version"] for one in items[:3]} == set(versions)
    exception_id = desk.receive()
    desk.decide(exception_id)
    assert desk.row(exception_id).domain_version == items[0]["version"]


@pytest.mark.parametrize("role", ["application", "system"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pack_activations SET comment = 'never mind'",
        "DELETE FROM pack_activations",
        "UPDATE packs SET document = '{}'",
        "DELETE FROM packs",
    ],
)
def test_what_was_activated_and_what_a_version_says_cannot_be_changed(
    desk: Desk, system: Engine, role: str, statement: str
) -> None:
    desk.begin()
    engine = system if role == "system" else desk.engine
    with pytest.raises(ProgrammingError) as refused, unit_of_work(engine, [desk.tenant_id]) as transaction:
        transaction.run(f"{statement} WHERE tenant_id = %(t)s", {"t": desk.tenant_id})
    assert isinstance(refused.value.orig, psycopg2.errors.InsufficientPrivilege)


def test_the_formats_schemas_need_no_key(desk: Desk) -> None:
    for kind in ("domain", "tenant"):
        answer = desk.client.get(f"/schemas/{kind}-pack.json")
        assert (answer.status_code, answer.content_type) == (200, "application/schema+json")
        assert answer.json["title"] == f"SentinAI {kind} pack"
