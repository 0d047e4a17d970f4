"""What a pack infers: types that the source did not name, tags, relations; and how a tenant's tools differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.domain.errors import ConditionFailedError
from service.domain.exceptions import Input, InputType, Severity, Status
from service.domain.packs import PackInvalidError, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.stages import intake, triage
from tests.unit.domain.given import (
    NOON,
    VERSIONS,
    call_tool,
    comment,
    domain_document,
    exception,
    packs,
    playbook,
    tenant_document,
    walk,
)

_DETECTING = {
    "exceptionTypes": {
        "LATE": {
            "detectionRules": [
                {"condition": "rawPayload.daysLate > 0", "confidence": 0.9},
                "has(rawPayload.promised)",
            ]
        },
        "LOST": {"detectionRules": [{"condition": "exceptionType == 'VANISHED'", "confidence": 0.85}]},
    }
}


def _triaged(named: str | None, payload: dict[str, Any], **keys: Any) -> Any:
    return walk(exception(named, payload), packs({**_DETECTING, **keys})).data("TriageCompleted")


@pytest.mark.parametrize(
    ("named", "payload", "found", "confidence", "by"),
    [
        # the source named nothing, or something the domain does not know: the surest rule that matches decides
        (None, {"daysLate": 3, "promised": "x"}, "LATE", 0.9, "exceptionTypes.LATE.detectionRules[0]"),
        ("Delivery Trouble", {"daysLate": 3}, "LATE", 0.9, "exceptionTypes.LATE.detectionRules[0]"),
        ("vanished", {}, "LOST", 0.85, "exceptionTypes.LOST.detectionRules[0]"),
        # a rule without a confidence has that of the page
        (None, {"promised": "x"}, "LATE", 0.8, "exceptionTypes.LATE.detectionRules[1]"),
        # the source's word counts if the domain knows it
        ("lost", {"daysLate": 3}, "LOST", 1.0, None),
        # and where nothing matches nobody is sure
        (None, {}, "UNKNOWN", 0.5, None),
        ("odd", {"daysLate": 0}, "ODD", 0.5, None),
    ],
)
def test_the_type_is_the_sources_or_what_the_surest_rule_infers(
    named: str | None, payload: dict[str, Any], found: str, confidence: float, by: str | None
) -> None:
    told = _triaged(named, payload)
    assert (told["exceptionType"], told["confidence"], told.get("inferredBy")) == (found, confidence, by)


def test_rules_that_miss_a_field_are_shown_with_the_inference() -> None:
    assert _triaged(None, {"promised": "x"})["rulesWithAbsentFields"] == ["exceptionTypes.LATE.detectionRules[0]"]


def test_severity_and_playbook_are_those_of_the_inferred_type() -> None:
    came = walk(
        exception(None, {"daysLate": 3}),
        packs(
            {
                **_DETECTING,
                "severityRules": [{"condition": "exceptionType == 'LATE'", "severity": "HIGH"}],
                "playbooks": [playbook(comment())],
            }
        ),
    )
    assert came.data("TriageCompleted")["severity"] == "HIGH"
    assert came.finished is Status.RESOLVED


def test_an_inference_that_is_not_sure_enough_asks_a_person() -> None:
    keys = {**_DETECTING, "guardrails": {"humanApprovalThreshold": 0.95}, "playbooks": [playbook(comment())]}
    assert walk(exception(None, {"daysLate": 3}), packs(keys)).finished is Status.PENDING_APPROVAL


def test_a_detection_rule_that_cannot_be_evaluated_fails_the_exception() -> None:
    with pytest.raises(ConditionFailedError, match=r"exceptionTypes\.LATE\.detectionRules\[0\]\.condition"):
        _triaged(None, {"daysLate": "three"})


def test_an_update_of_an_inferred_exception_is_looked_at_again() -> None:
    # given an exception that was inferred to be late
    updated = exception("LATE", {"daysLate": 3}, confidence=0.9, input=Input(InputType.UPDATED, {"rawPayload": {}}))
    pack_set = packs(_DETECTING)
    # when an update says nothing new, then it is as sure as before, not surer
    assert triage.decide(updated, pack_set, NOON).changes.confidence == 0.9
    # and when the update takes away what the inference went by, nobody is sure
    taken_away = replace(updated, raw_payload={"daysLate": 0})
    changed = triage.decide(taken_away, pack_set, NOON).changes
    assert (changed.exception_type, changed.confidence) == ("LATE", 0.5)
    # while a type that the source named stays certain
    named = replace(updated, confidence=1.0)
    assert triage.decide(named, pack_set, NOON).changes.confidence == 1.0


_TAGGING = {
    "exceptionTypes": {"LATE": {"policyTags": ["delivery"]}, "LOST": {}},
    "policyTagRules": [
        {"condition": "rawPayload.value > 1000", "tags": ["valuable", "delivery"]},
        {"condition": "'delivery' in policyTags && severity == 'HIGH'", "tags": ["urgent"]},
    ],
}


def test_tags_come_from_types_and_rules_of_both_packs_and_conditions_see_them() -> None:
    pack_set = packs(
        {**_TAGGING, "severityRules": [{"condition": "'valuable' in policyTags", "severity": "CRITICAL"}]},
        {"policyTagRules": [{"condition": "sourceSystem == 'ledger'", "tags": ["ours"]}]},
    )
    told = walk(exception("LATE", {"value": 2000}, reported_severity="high"), pack_set).data("TriageCompleted")
    assert told["policyTags"] == ["delivery", "valuable", "urgent", "ours"]
    assert told["severity"] == "CRITICAL"


def test_a_tag_rule_that_misses_a_field_is_shown() -> None:
    told = walk(exception("LOST", {}), packs(_TAGGING)).data("TriageCompleted")
    assert "policyTags" not in told
    assert told["rulesWithAbsentFields"] == ["policyTagRules[0]"]


def test_steps_see_the_tags_too() -> None:
    step = comment("valuable", condition="'valuable' in policyTags")
    pack_set = packs({**_TAGGING, "playbooks": [playbook(comment(), step)]})
    assert walk(exception("LATE", {"value": 2000}), pack_set).data("PlaybookMatched")["steps"] == 2
    assert walk(exception("LATE", {"value": 1}), pack_set).data("PlaybookMatched")["steps"] == 1


_ENTITIES = {
    "entities": {
        "Order": {"attributes": {"orderId": {"type": "string", "required": True}}, "relations": []},
        "Depot": {"attributes": {"code": {"type": "string"}}, "key": ["code"]},
        "Parcel": {
            "attributes": {"orderId": {"type": "string"}, "depot": {"type": "string"}},
            "relations": ["Order", {"entity": "Depot", "by": ["depot"]}],
        },
    }
}


def test_what_a_payload_does_not_say_about_its_relations_is_told_and_fails_nothing() -> None:
    def warnings(payload: dict[str, Any]) -> list[str]:
        record = exception("LATE", payload, entity="parcel")
        warnings: list[str] = intake.decide(record, packs(_ENTITIES), NOON).events[0].data["warnings"]
        return warnings

    assert warnings({"orderId": "O-1", "depot": "B"}) == []
    assert warnings({"depot": "B"}) == [
        "rawPayload.orderId is missing: nothing says which Order this parcel belongs to"
    ]
    assert len(warnings({})) == 2


def test_a_relation_that_nothing_can_say_is_warned_of_and_one_to_nowhere_is_a_fault() -> None:
    pack = parse_domain_pack(domain_document(entities={"Parcel": {"relations": ["Order"]}, "Order": {}}))
    assert [fault.path for fault in pack.warnings] == ["entities.Parcel.relations[0]"]
    with pytest.raises(PackInvalidError) as refused:
        parse_domain_pack(
            domain_document(
                entities={"Parcel": {"relations": ["Ghost", {"entity": "Parcel", "by": "nothing"}], "key": ["x"]}}
            )
        )
    assert {fault.path for fault in refused.value.faults} == {
        "entities.Parcel.key[0]",
        "entities.Parcel.relations[0]",
        "entities.Parcel.relations[1].by",
    }


def test_a_tenants_tools_are_the_domains_with_its_own_keys() -> None:
    pack_set = packs(
        {"playbooks": [playbook(call_tool(id="x"))]},
        {"toolOverrides": {"trace": {"timeoutSeconds": 3, "endpoint": "https://acme.example/trace"}}},
    )
    [step] = walk(exception(), pack_set).record.plan.steps  # type: ignore[union-attr] # it has a plan
    call = step.tool_call
    assert call is not None
    assert (call.url, call.timeout_seconds, call.max_retries) == ("https://acme.example/trace", 3, 3)


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ({"teleport": {}}, "toolOverrides.teleport"),
        ({"trace": {"timeoutSeconds": -1}}, "toolOverrides.trace.timeoutSeconds"),
        ({"trace": {"kind": "kafka"}}, "toolOverrides.trace.kind"),
        ({"trace": {"endpoint": "${nobody}/x"}}, "toolOverrides.trace.endpoint"),
    ],
)
def test_an_override_has_to_be_as_right_as_a_tool(overrides: dict[str, Any], path: str) -> None:
    domain = parse_domain_pack(domain_document())
    with pytest.raises(PackInvalidError) as refused:
        parse_tenant_pack(tenant_document(toolOverrides=overrides), domain)
    assert path in {fault.path for fault in refused.value.faults}


def test_a_key_that_the_tool_does_not_have_is_warned_of() -> None:
    document = tenant_document(toolOverrides={"trace": {"colour": "red"}})
    assert [fault.path for fault in parse_tenant_pack(document, parse_domain_pack(domain_document())).warnings] == [
        "toolOverrides.trace.colour"
    ]


def test_operators_variables_reach_overrides() -> None:
    document = tenant_document(toolOverrides={"trace": {"endpoint": "${host}/x"}})
    domain = parse_domain_pack(domain_document())
    tenant = parse_tenant_pack(document, domain, {"host": "https://h.example"})
    assert build_pack_set(domain, tenant, VERSIONS).domain.tools["trace"].endpoint == "https://h.example/x"


def test_approval_rules_say_how_many_people_and_until_when() -> None:
    pack_set = packs(
        tenant={
            "humanApprovalRules": [
                {"severity": "CRITICAL", "fourEyes": True, "timeLimitMinutes": 30},
                {"severity": "LOW", "requireApproval": False},
            ]
        }
    )
    rule = pack_set.guardrails.approval_rules[Severity.CRITICAL]
    assert (rule.requireApproval, rule.approvals_needed, rule.timeLimitMinutes) == (True, 2, 30)
    assert set(pack_set.guardrails.approval_by_severity) == {Severity.CRITICAL}


def test_notification_policies_of_both_packs_apply() -> None:
    policy = {
        "on": ["ExceptionEscalated"],
        "channel": "email",
        "params": {"to": "ops@example.org", "subject": "s", "text": "t"},
    }
    pack_set = packs({"notificationPolicies": [policy]}, {"notificationPolicies": [{**policy, "severities": ["LOW"]}]})
    assert [one.severities for one in pack_set.notifications] == [None, [Severity.LOW]]
    with pytest.raises(PackInvalidError, match=r"notificationPolicies\[0\]\.on\[0\]"):
        packs({"notificationPolicies": [{**policy, "on": ["SomethingHappened"]}]})


def test_detectors_and_patterns_of_both_packs_mask_and_a_tenant_can_switch_a_detector_off() -> None:
    pack_set = packs(
        {"sensitivePatterns": [{"keys": "(?i)ssn"}]},
        {"sensitivePatterns": [{"values": r"MRN-\d+"}], "detectorsOff": ["email"]},
    )
    payload = {"ssn": "1", "note": "MRN-5 ada@example.org DE44500105175407324931"}
    outcome = intake.decide(exception("LATE", payload), pack_set, NOON)
    assert outcome.changes.redacted_payload == {
        "ssn": "[REDACTED]",
        "note": "[REDACTED] ada@example.org [REDACTED]",
    }
    assert outcome.events[0].data["detectedFields"] == ["ssn (pattern)", "note (iban)", "note (pattern)"]
    with pytest.raises(PackInvalidError, match=r"sensitivePatterns\[0\]\.keys: not a regular expression"):
        packs({"sensitivePatterns": [{"keys": "("}]})
