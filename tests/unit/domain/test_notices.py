"""Whom policies tell of what: which events match, and what is rendered from what everybody may see."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.events import EventType, NewEvent
from service.domain.exceptions import NO_CHANGES, Changes, Severity
from service.domain.packs import PackInvalidError, PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.packs.deciding.notices import LONGEST_TEXT, Notice
from tests.unit.domain.given import VERSIONS, exception

HOOK = {"url": "https://hooks.example/ops", "signingSecret": "secret://env/HOOK"}
ESCALATED = NewEvent(EventType.EXCEPTION_ESCALATED, {"reason": "nobody answered"})
RESOLVED = NewEvent(EventType.EXCEPTION_RESOLVED, {"playbook": "p"})


def policy(
    *on: str, text: Any = "t", channel: str = "webhook", severities: list[str] | None = None, **more: Any
) -> Any:
    where = HOOK if channel == "webhook" else {"to": "ops@bank.example", "subject": "s"}
    written = {"on": list(on), "channel": channel, "params": {**where, "text": text, **more}}
    return written if severities is None else {**written, "severities": severities}


def packs(*domain: Any, tenant: tuple[Any, ...] = (), **keys: Any) -> PackSet:
    read = parse_domain_pack({"domainName": "D", "notificationPolicies": list(domain), **keys})
    own = {"tenantId": "ACME", "domainName": "D", "notificationPolicies": list(tenant)}
    return build_pack_set(read, parse_tenant_pack(own), VERSIONS)


def due(pack_set: PackSet, *events: NewEvent, changes: Changes = NO_CHANGES, **fields: Any) -> list[Notice]:
    record = exception("LATE", fields.pop("payload", {"orderId": "O-7", "card": "x-secret-x"}), **fields)
    return pack_set.notices.due(record, pack_set.redactor, events, changes)


def test_a_policy_tells_of_its_events_and_names_the_one_it_is_about() -> None:
    pack_set = packs(policy("ExceptionEscalated", "DeadLettered"), tenant=(policy("ExceptionEscalated"),))
    told = due(pack_set, RESOLVED, ESCALATED)
    assert [(notice.place, notice.event, notice.policy) for notice in told] == [
        (2, "ExceptionEscalated", "domain.notificationPolicies[0]"),
        (2, "ExceptionEscalated", "tenant.notificationPolicies[0]"),
    ]


def test_packs_without_policies_ask_nothing_of_anybody() -> None:
    pack_set = packs()
    assert pack_set.notices.events == frozenset()
    assert due(pack_set, ESCALATED) == []


def test_severities_are_those_that_the_decision_gives() -> None:
    pack_set = packs(policy("TriageCompleted", severities=["HIGH"]))
    triaged = NewEvent(EventType.TRIAGE_COMPLETED)
    assert due(pack_set, triaged) == []
    assert due(pack_set, triaged, severity=Severity.HIGH, changes=Changes(severity=Severity.LOW)) == []
    assert len(due(pack_set, triaged, changes=Changes(severity=Severity.HIGH))) == 1


def test_only_steps_for_people_are_told_of() -> None:
    pack_set = packs(policy("StepExecutionRequested"))
    kinds = ("internal", "external", "manual")
    steps = [NewEvent(EventType.STEP_EXECUTION_REQUESTED, {"stepOrder": 1, "kind": kind}) for kind in kinds]
    assert [notice.place for notice in due(pack_set, *steps)] == [3]


def test_texts_are_rendered_from_what_everybody_may_see() -> None:
    order = "{{ exception.rawPayload.orderId }}/{{ exception.rawPayload.card }}"
    text = f"{{{{ event.type }}}} of {order}: {{{{ event.data.reason }}}}"
    (told,) = due(packs(policy("ExceptionEscalated", text=text), sensitiveFields=["card"]), ESCALATED)
    assert told.params["text"] == "ExceptionEscalated of O-7/[REDACTED]: nobody answered"
    assert told.params["signingSecret"] == "secret://env/HOOK"


def test_what_is_missing_keeps_nobody_from_being_told() -> None:
    wanted = policy(
        "ExceptionEscalated", text="order {{ exception.rawPayload.orderId }}", data={"n": "{{ event.data.n }}"}
    )
    (told,) = due(packs(wanted), ESCALATED, payload={})
    assert (told.params["text"], told.params["data"], told.error) == ("order (unknown)", {"n": None}, None)


def test_an_address_has_to_be_there() -> None:
    wanted = policy("ExceptionEscalated", channel="email", to="{{ exception.rawPayload.contact }}")
    (told,) = due(packs(wanted), ESCALATED)
    assert told.error == "to needs {{ exception.rawPayload.contact }}, which the exception does not have"


def test_a_webhook_carries_the_event_unless_the_policy_says_what() -> None:
    (told,) = due(packs(policy("ExceptionEscalated")), ESCALATED)
    assert told.params["data"]["event"] == {"type": "ExceptionEscalated", "data": {"reason": "nobody answered"}}
    assert told.params["data"]["exception"]["exceptionType"] == "LATE"
    assert "rawPayload" not in told.params["data"]["exception"]


def test_a_webhook_in_doubt_is_repeated_and_a_mail_is_not_unless_the_policy_says_so() -> None:
    hook, mail = policy("DeadLettered"), policy("DeadLettered", channel="email")
    own = policy("DeadLettered", channel="email", idempotent=True, maxRetries=1)
    told = due(packs(hook, mail, own), NewEvent(EventType.DEAD_LETTERED))
    assert [(one.params["idempotent"], one.params["maxRetries"]) for one in told] == [(True, 9), (False, 9), (True, 1)]


def test_a_text_of_any_length_is_cut() -> None:
    wanted = policy("ExceptionEscalated", text="{{ exception.rawPayload.long }}")
    (told,) = due(packs(wanted), ESCALATED, payload={"long": "x" * 2 * LONGEST_TEXT})
    assert len(told.params["text"]) == LONGEST_TEXT + 1


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"on": ["DeadLettered"], "channel": "webhook", "params": {**HOOK}}, "params.text"),
        (policy("DeadLettered", text="{{ steps.a.output }}"), "params.text"),
        (policy("DeadLettered", text="{{ event.position }}"), "params.text"),
        (policy("DeadLettered", url="https://{{ exception.entity }}"), "params.url"),
    ],
    ids=["no text", "a step", "an event has no such part", "a url from an exception"],
)
def test_a_policy_that_could_not_be_sent_is_refused(wanted: Any, path: str) -> None:
    with pytest.raises(PackInvalidError) as refused:
        packs(wanted)
    assert f"notificationPolicies[0].{path}" in [fault.path for fault in refused.value.faults]
    with pytest.raises(PackInvalidError):
        packs(tenant=(wanted,))
