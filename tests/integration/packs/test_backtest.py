"""Backtests on a real database: what happened beside what would have, without any effect and without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.persistence.backtesting import load_past
from service.persistence.unit_of_work import unit_of_work
from tests.integration.packs.desk import Desk, severity

pytestmark = pytest.mark.stack

BACKTEST = "/packs/domain/Deliveries/backtest"


def backtest(desk: Desk, **keys: Any) -> Any:
    """Store the domain pack with these keys and backtest it."""
    version = desk.put(**keys)
    return desk.done("POST", BACKTEST, {"version": version})


def test_a_change_is_shown_side_by_side_and_has_no_effect(desk: Desk) -> None:
    # given exceptions that were decided, and one that nobody has looked at
    desk.begin()
    ids = desk.receive_many([{"id": f"P-{n}", "daysLate": n, "customer": "Ada Lovelace"} for n in range(4)])
    desk.decide(*ids)
    desk.receive(id="P-9")
    before = desk.counts()
    # when a draft is backtested that is stricter with some and traces them by another name
    rules = [
        {"condition": "rawPayload.daysLate > 1", "severity": "HIGH"},
        {"condition": "has(rawPayload.weight) && rawPayload.weight > 3 || rawPayload.size > 1", "severity": "CRITICAL"},
        *severity("LOW")["severityRules"],
    ]
    report = backtest(desk, severityRules=rules)
    # then each is shown as it was and as it would be
    assert (report["decided"], report["changed"], report["skipped"]) == (4, 2, {"beingDecided": 1})
    assert report["severities"] == {"LOW": {"HIGH": 2, "LOW": 2}}
    assert report["changes"]["severity"] == 2
    assert report["changes"]["plan"] == 0
    assert report["rulesWithAbsentFields"] == {"severityRules[1]": 2}
    assert {one["exceptionId"] for one in report["differences"]} == {str(one) for one in ids[2:]}
    tools = report["differences"][0]["after"]["tools"]
    assert [(tool["tool"], tool["parameters"]) for tool in tools] == [("trace", {"id": "P-3"})]
    # and nothing has happened
    assert desk.counts() == before


def test_approvals_plans_and_failures_are_counted(desk: Desk) -> None:
    # given decided exceptions
    desk.begin()
    ids = desk.receive_many([{"id": "P-1"}, {"id": "P-2"}])
    desk.decide(*ids)
    # when the tenant asks for approval of everything
    version = desk.put_tenant(humanApprovalRules=[{"severity": "LOW", "requireApproval": True}])
    report = desk.done("POST", "/packs/tenant/backtest", {"version": version})
    assert report["approvals"] == {"before": 0, "after": 2, "more": 2, "less": 0}
    assert report["changes"]["plan"] == 0
    # when a rule cannot be evaluated
    report = backtest(desk, severityRules=[{"condition": "rawPayload.id > 3", "severity": "LOW"}])
    assert report["failures"] == {
        "before": 0,
        "after": 2,
        "added": 2,
        "removed": 0,
        "byRule": {"severityRules[0].condition": 2},
    }
    # when there is no playbook any more
    report = backtest(desk, playbooks=[])
    assert report["playbooks"] == [{"before": "trace it", "after": "(none)", "exceptions": 2}]
    assert report["changes"]["plan"] == 2


def test_what_failed_before_and_would_not_now_is_told(desk: Desk) -> None:
    # given an exception that a faulty rule dead-lettered
    desk.begin(severityRules=[{"condition": "rawPayload.id > 3", "severity": "LOW"}])
    exception_id = desk.receive()
    desk.decide(exception_id)
    assert desk.row(exception_id).status == "DEAD_LETTERED"
    # when the corrected pack is backtested
    report = backtest(desk, **severity("HIGH"))
    # then it would be decided
    assert (report["failures"]["removed"], report["changes"]["failure"]) == (1, 1)
    assert report["differences"][0]["after"]["severity"] == "HIGH"


def test_no_sensitive_value_of_either_pack_is_in_a_report(desk: Desk) -> None:
    # given a tool that was given a field which only the draft calls sensitive, and one that only the old pack does
    playbook = {
        "name": "trace it",
        "exceptionType": "LATE",
        "steps": [
            {
                "action_type": "call_tool",
                "params": {
                    "tool": "trace",
                    "parameters": {
                        "id": "{{ exception.rawPayload.id }}",
                        "phone": "{{ exception.rawPayload.phone }}",
                        "who": "{{ exception.rawPayload.customer }}",
                    },
                },
            }
        ],
    }
    desk.begin(playbooks=[playbook])
    desk.decide(desk.receive(id="P-1", customer="Ada Lovelace", phone="+44 20 7946 0000"))
    # when the draft masks the other one
    version = desk.put(playbooks=[playbook], sensitiveFields=["phone"], **severity("HIGH"))
    report = desk.done("POST", BACKTEST, {"version": version})
    kept = desk.done("GET", f"/packs/domain/Deliveries/versions/{version}/backtest")
    # then neither is told
    assert report["changed"] == 1
    for told in (json.dumps(report), json.dumps(kept)):
        assert "P-1" in told
        assert "Lovelace" not in told
        assert "7946" not in told


def test_a_kept_report_has_pages_and_a_stream_tells_how_far_it_is(desk: Desk) -> None:
    # given more differences than one answer has
    desk.begin()
    ids = desk.receive_many([{"id": f"P-{n}"} for n in range(7)])
    desk.decide(*ids)
    version = desk.put(**severity("HIGH"))
    # when it is run as a stream
    answer = desk.call("POST", BACKTEST, {"version": version, "differences": 3}, Accept="application/x-ndjson")
    assert answer.content_type == "application/x-ndjson"
    *progress, last = [json.loads(line) for line in answer.text.splitlines()]
    # then it told its progress, and the report
    assert progress == [{"progress": {"done": 7, "of": 7}}]
    assert (len(last["report"]["differences"]), last["report"]["differencesLeftOut"]) == (3, 4)
    # and the rest is read page by page
    path, found, cursor = f"/packs/domain/Deliveries/versions/{version}/backtest", [], ""
    while cursor is not None:
        page = desk.done("GET", f"{path}?limit=3{cursor and '&cursor=' + cursor}")
        found += [one["exceptionId"] for one in page["differences"]]
        cursor = page["nextCursor"]
    assert found == [str(one) for one in reversed(ids)]
    assert desk.call("GET", f"{path}?cursor=nonsense").status_code == 422


def test_the_type_is_what_the_source_named_and_limits_choose_the_newest(desk: Desk) -> None:
    # given exceptions whose type the pack knew by another spelling
    desk.begin()
    ids = desk.receive_many([{"id": f"P-{n}"} for n in range(3)])
    desk.decide(*ids)
    # when a draft does not know that type any more
    version = desk.put(exceptionTypes={"LOST": {}}, playbooks=[], severityRules=[], testSuites=[])
    report = desk.done("POST", BACKTEST, {"version": version, "limit": 2})
    # then it is told, for the newest only
    assert (report["decided"], report["changes"]["type"]) == (2, 0)
    assert [one["exceptionId"] for one in report["differences"]] == [str(ids[2]), str(ids[1])]
    assert desk.done("POST", BACKTEST, {"version": version, "exceptionType": "LOST"})["decided"] == 0


def test_a_backtest_waits_for_nobody_and_nobody_for_it(desk: Desk) -> None:
    # given exceptions that a worker has locked
    desk.begin()
    ids = desk.receive_many([{"id": "P-1"}, {"id": "P-2"}])
    desk.decide(*ids)
    version = desk.put(**severity("HIGH"))
    with unit_of_work(desk.engine, [desk.tenant_id]) as worker:
        worker.rows("SELECT 1 FROM exceptions WHERE tenant_id = %(t)s FOR UPDATE", {"t": desk.tenant_id})
        # when they are backtested, by a process that would not wait
        with unit_of_work(desk.engine, [desk.tenant_id]) as transaction:
            transaction.run("SET LOCAL lock_timeout = '1s'")
            found = list(load_past(transaction, desk.tenant_id, ids))
    # then it has them
    assert [one.record.exception_id for one in found] == ids
    assert desk.done("POST", BACKTEST, {"version": version})["changed"] == 2
