"""Operator's variables in a pack, and what a failing case tells of why it failed."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.pack_suites import run_suites
from service.domain.packs import PackInvalidError, parse_domain_pack
from service.domain.packs.notify import notify_call
from tests.unit.domain.given import NOON

HOOK = {
    "action_type": "notify",
    "params": {
        "channel": "webhook",
        "url": "${desk}/hooks/claims",
        "signingSecret": "secret://env/SENTINAI_SECRET_DESK",
        "text": "{exception.rawPayload.claimId}",
    },
}


def pack(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    playbook = {"name": "p", "exceptionType": "X", "steps": list(steps)}
    return {"domainName": "Claims", "exceptionTypes": {"X": {}}, "playbooks": [playbook], **more}


def test_a_notification_may_go_to_an_url_that_the_operator_gives() -> None:
    """Given a notify step, also inside a group, when the pack is read, then its url has the operator's value."""
    branch = {"action_type": "branch", "params": {"if": "rawPayload.a == 1", "then": [HOOK]}}

    read = parse_domain_pack(pack(HOOK, branch), {"desk": "https://desk.example/"})

    outer, inner = read.model_dump(mode="json")["playbooks"][0]["steps"]
    for params in (outer["params"], inner["params"]["then"][0]["params"]):
        assert notify_call(params).url == "https://desk.example/hooks/claims"


def test_a_notification_policy_may_name_the_operators_url_too() -> None:
    policy = {"on": ["ExceptionEscalated"], "channel": "webhook", "params": {**HOOK["params"], "text": "look"}}
    del policy["params"]["channel"]
    steps = {"action": "look", "parameters": {}}

    read = parse_domain_pack(pack(steps, notificationPolicies=[policy]), {"desk": "https://desk.example"})

    assert (
        read.model_dump(mode="json")["notificationPolicies"][0]["params"]["url"] == "https://desk.example/hooks/claims"
    )


def test_a_variable_that_nobody_gave_is_one_fault_where_it_stands() -> None:
    with pytest.raises(PackInvalidError) as told:
        parse_domain_pack(pack(HOOK), {"other": "https://a.example"})

    assert [(fault.path, fault.message) for fault in told.value.faults] == [
        ("playbooks[0].steps[0].params.url", "variable ${desk} has no value here (the operator gave: other)")
    ]


def test_a_notifications_url_still_takes_nothing_from_an_exception() -> None:
    step = {**HOOK, "params": {**HOOK["params"], "url": "${desk}/{exception.rawPayload.claimId}"}}

    with pytest.raises(PackInvalidError, match="holds no template"):
        parse_domain_pack(pack(step), {"desk": "https://desk.example"})


def test_a_failing_case_tells_the_error_that_it_did_not_expect() -> None:
    """Given a playbook that needs a field the case lacks, then the case says so beside what it expected."""
    case = {"name": "c", "input": {"exceptionType": "X", "rawPayload": {}}, "expectedOutput": {"playbook": "p"}}

    (result,) = run_suites(parse_domain_pack(pack(HOOK, testSuites=[case]), {"desk": "https://desk.example"}), NOON)

    told = {miss.key: miss.actual for miss in result.mismatches}
    assert told.keys() == {"playbook", "error"}
    assert "there is no rawPayload.claimId" in told["error"]
    assert "playbook: expected 'p', the pack says None; error: expected None" in result.told
