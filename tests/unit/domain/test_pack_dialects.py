"""Packs in the dialects that are seen in the wild become the documented form, and nothing of them is lost silently."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.conditions import compile_condition
from service.domain.packs import (
    DomainPack,
    PackInvalidError,
    PackKind,
    parse_document,
    parse_domain_pack,
    parse_tenant_pack,
    read_document,
)
from service.domain.packs.dialects.normalisation import normalise
from service.domain.packs.dialects.simple_conditions import SimpleConditionError, to_cel
from tests.unit.domain.given import EXAMPLES, domain_document, tenant_document

_SNAKE = {
    "domain_name": "Deliveries",
    "entities": [
        {"name": "Parcel", "fields": {"parcel_id": "str", "sent": {"type": "date", "mandatory": True}}},
        {"name": "Depot", "attributes": [{"name": "depotId", "type": "int", "required": "true"}, "town"]},
    ],
    "exception_types": [
        {"name": "LATE", "description": "too late", "detection_rules": ["rawPayload.daysLate > 0"]},
        "LOST",
    ],
    "severity_rules": [
        {"if": "exceptionType == 'LOST'", "then": "critical"},
        {"when": {"field": "days_late", "operator": ">", "value": 7}, "severity": "High"},
        {"field": "customer.tier", "operator": "in", "value": ["gold", "vip"], "then": {"severity": "high"}},
    ],
    "tools": [
        {
            "name": "trace",
            "url": "https://tools.example/trace",
            "method": "post",
            "timeout_seconds": "5",
            "max_retries": 2,
            "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
        }
    ],
    "playbooks": [
        {
            "exception_type": "LATE",
            "steps": ["Ring the depot", {"stepOrder": 2, "actionType": "add-comment", "params": {"text": "rung"}}],
        },
        {"name": "any", "match": {"exceptionType": "L*", "severity": ["high", "critical"]}, "steps": ["Look"]},
    ],
    "guardrails": {"allow_list": [], "human_approval_threshold": 0.7},
    "sla": {"critical": 15, "HIGH": 60},
    "sensitive_fields": ["$.customer.taxId", "legs[*].account"],
    "test_suites": [
        {
            "name": "late",
            "cases": [
                {
                    "name": "a week",
                    "input": {"exception_type": "LATE", "raw_payload": {"days_late": 8}},
                    "expected_output": {"exception_type": "LATE", "severity": "high"},
                },
                {"input": {"exceptionType": "LOST"}, "expected": {"severity": "CRITICAL"}},
            ],
        }
    ],
}


def test_a_pack_in_another_dialect_is_the_pack_it_stands_for() -> None:
    pack = parse_domain_pack(_SNAKE)
    assert pack.model_dump(mode="json", exclude_unset=True, by_alias=True) == parse_domain_pack(
        {
            "domainName": "Deliveries",
            "entities": {
                "Parcel": {
                    "attributes": {"parcel_id": {"type": "string"}, "sent": {"type": "string", "required": True}}
                },
                "Depot": {"attributes": {"depotId": {"type": "integer", "required": True}, "town": {"type": "any"}}},
            },
            "exceptionTypes": {
                "LATE": {"description": "too late", "detectionRules": [{"condition": "rawPayload.daysLate > 0"}]},
                "LOST": {},
            },
            "severityRules": [
                {"condition": "exceptionType == 'LOST'", "severity": "CRITICAL"},
                {"condition": "rawPayload.days_late > 7", "severity": "HIGH"},
                {"condition": 'rawPayload.customer.tier in ["gold", "vip"]', "severity": "HIGH"},
            ],
            "tools": {
                "trace": {
                    "endpoint": "https://tools.example/trace",
                    "method": "POST",
                    "timeoutSeconds": 5.0,
                    "maxRetries": 2,
                    "parameters": {"id": {"type": "string", "required": True}},
                }
            },
            "playbooks": [
                {
                    "exceptionType": "LATE",
                    "steps": [
                        {"action": "Ring the depot"},
                        {"step_order": 2, "action_type": "add_comment", "params": {"text": "rung"}},
                    ],
                },
                {
                    "name": "any",
                    "conditions": {"match": {"exception_type": "L*", "severity_in": ["HIGH", "CRITICAL"]}},
                    "steps": [{"action": "Look"}],
                },
            ],
            "guardrails": {"allowLists": [], "humanApprovalThreshold": 0.7},
            "sla": {"minutesToResolve": {"CRITICAL": 15, "HIGH": 60}},
            "sensitiveFields": ["customer.taxId", "legs.account"],
            "testSuites": [
                {
                    "name": "late / a week",
                    "input": {"exceptionType": "LATE", "rawPayload": {"days_late": 8}},
                    "expectedOutput": {"exceptionType": "LATE", "severity": "HIGH"},
                },
                {
                    "name": "late / 2",
                    "input": {"exceptionType": "LOST"},
                    "expectedOutput": {"severity": "CRITICAL"},
                },
            ],
        }
    ).model_dump(mode="json", exclude_unset=True, by_alias=True)


def test_what_a_rewriting_could_surprise_with_is_told_where_it_was_written() -> None:
    told = {fault.path: fault.message for fault in parse_domain_pack(_SNAKE).warnings}
    assert told == {
        "entities[0].fields.sent.type": "JSON has no type 'date': only that it is a text is checked",
        "entities[1].attributes[0].required": "the text 'true' is read as true",
        "tools[0].timeout_seconds": "the text '5' is read as a number",
        "sensitive_fields[0]": "is read as 'customer.taxId': paths begin inside rawPayload",
    }


def test_a_tenant_pack_in_another_dialect() -> None:
    domain = parse_domain_pack(domain_document())
    tenant = parse_tenant_pack(
        {
            "tenant_id": "ACME",
            "domain": "Deliveries",
            "severity_overrides": [{"exception_type": "LATE", "severity": "low"}],
            "approved_tools": "trace",
            "tool_overrides": [{"toolName": "trace", "timeout_seconds": 3, "max_retries": 0}],
            "human_approval_rules": [{"severity": "high", "requires_approval": True, "four_eyes": True}],
            "retention": {"data_ttl": 30},
            "notifications": [
                {
                    "event": "exception_escalated",
                    "severity": "high",
                    "channel": "webhook",
                    "url": "https://x.example",
                    "signingSecret": "secret://env/SENTINAI_SECRET_X",
                    "text": "late",
                }
            ],
            "rate_limit_per_second": 5,
            "sla_rules": [{"severity": "high", "minutes": 30}, {"severity": "LOW", "resolve_within_minutes": 90}],
            "detectors_off": ["EMAIL"],
        },
        domain,
    )
    assert [fault.path for fault in tenant.warnings] == []
    assert tenant.model_dump(mode="json", exclude_unset=True) == {
        "tenantId": "ACME",
        "domainName": "Deliveries",
        "customSeverityOverrides": [{"exceptionType": "LATE", "severity": "LOW"}],
        "approvedTools": ["trace"],
        "toolOverrides": {"trace": {"timeoutSeconds": 3, "maxRetries": 0}},
        "humanApprovalRules": [{"severity": "HIGH", "requireApproval": True, "fourEyes": True}],
        "retentionPolicies": {"dataTTL": 30},
        "notificationPolicies": [
            {
                "on": ["ExceptionEscalated"],
                "severities": ["HIGH"],
                "channel": "webhook",
                "params": {
                    "url": "https://x.example",
                    "signingSecret": "secret://env/SENTINAI_SECRET_X",
                    "text": "late",
                },
            }
        ],
        "rateLimitPerSecond": 5,
        "sla": {"minutesToResolve": {"HIGH": 30, "LOW": 90}},
        "detectorsOff": ["email"],
    }


def test_a_fault_is_told_on_the_line_and_under_the_path_that_its_author_wrote() -> None:
    text = """\
domain_name: Deliveries
exception_types: [LATE]
severity_rules:
  - if: exceptionType ==
    then: HIGH
tools:
  - name: trace
    url: ftp://tools.example
test_suites:
  - name: late
    cases:
      - input: {exception_type: LATE}
        expected: {severity: LOW}
      - input: {}
"""
    with pytest.raises(PackInvalidError) as refused:
        parse_document(read_document(text, "x.yaml"))
    told = [str(fault).split(": ")[:2] for fault in refused.value.faults]
    assert told == [
        ["line 4", "severity_rules[0].if"],
        ["line 8", "tools[0].url"],
        ["line 14", "test_suites[0].cases[1].expectedOutput"],
    ]


def test_a_warning_has_its_line_too() -> None:
    pack = parse_document(read_document('{"domainName": "D",\n "exception_types": {"A": {\n  "colour": 1}}}'))
    assert [str(warning) for warning in pack.warnings] == [
        "line 3: exception_types.A.colour: this key is not known and has no effect"
    ]


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({"severityRules": [], "severity_rules": []}, "severity_rules", "a second time"),
        ({"sla": {"minutesToResolve": {"HIGH": 1, "high": 2}}}, "sla.minutesToResolve.high", "a second time"),
        ({"sla": [{"severity": "HIGH", "minutes": -1}]}, "sla[0]", "greater than 0"),
        ({"tools": [{"url": "https://x.example"}]}, "tools[0]", "says its own name"),
        ({"exceptionTypes": ["LATE", "LATE"]}, "exceptionTypes[1]", "twice"),
        (
            {"severityRules": [{"condition": {"field": "a", "operator": "~"}, "severity": "LOW"}]},
            "severityRules[0].condition",
            "needs `value`",
        ),
    ],
)
def test_what_cannot_be_both_is_a_fault(document: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(PackInvalidError) as refused:
        parse_domain_pack(domain_document(**document))
    [told] = refused.value.faults
    assert told.path == path
    assert message in told.message


@pytest.mark.parametrize(
    ("condition", "cel"),
    [
        ({"field": "amount", "operator": "gte", "value": 5}, "rawPayload.amount >= 5"),
        ({"field": "exception_type", "op": "equals", "value": "X"}, 'exceptionType == "X"'),
        ({"field": "rawPayload.a.b", "value": None}, "rawPayload.a.b == null"),
        ({"field": "note", "operator": "starts_with", "value": 'a"\n'}, 'rawPayload.note.startsWith("a\\"\\n")'),
        ({"field": "tax-id", "operator": "not_in", "value": [1]}, '!(rawPayload["tax-id"] in [1])'),
        ({"field": "legs.0.in", "operator": "==", "value": True}, 'rawPayload.legs[0]["in"] == true'),
        ({"field": "a", "operator": "exists"}, "has(rawPayload.a)"),
        ({"field": "entity", "operator": "absent"}, "!(entity != null)"),
        ({"any": [{"field": "a", "value": 1}, "severity == 'LOW'"]}, "(rawPayload.a == 1) || (severity == 'LOW'\n)"),
        ({"not": {"all": [{"field": "a", "value": 1}]}}, "!((rawPayload.a == 1))"),
    ],
)
def test_a_condition_written_as_an_object_is_the_cel_it_stands_for(condition: dict[str, Any], cel: str) -> None:
    assert to_cel(condition) == cel
    compile_condition(cel, "")


@pytest.mark.parametrize(
    "condition",
    [{}, {"field": 1}, {"field": "a", "operator": "near", "value": 1}, {"any": []}, {"all": [1]},
     {"field": "a", "x": 1},
     {"field": "a", "value": {}}, {"field": "a", "operator": "in", "value": 1}],
)  # fmt: skip
def test_an_object_that_is_no_condition_says_why(condition: dict[str, Any]) -> None:
    with pytest.raises(SimpleConditionError):
        to_cel(condition)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.*.json")), ids=lambda path: path.name)
def test_the_documented_form_is_left_as_it_is(file: Any) -> None:
    document = json.loads(file.read_text())
    kind = PackKind.TENANT if "tenantId" in document else PackKind.DOMAIN
    normal = normalise(document, kind)
    assert normal.document == document
    assert (normal.warnings, normal.faults) == ((), ())


_words = st.sampled_from(
    ["name", "if", "then", "condition", "severity", "high", "steps", "field", "value", "cases", "match", "action",
     "params", "tools", "type", "object", "properties", "exception_type", "severityRules", "testSuites", "5", "true"]
)  # fmt: skip
_nonsense = st.recursive(
    _words | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=10,
)
_keys = st.sampled_from(
    [*DomainPack.model_fields, "severity_rules", "test_suites", "exception_types", "tool_overrides"]
)


@given(document=st.dictionaries(_keys, _nonsense, max_size=4) | st.just(_SNAKE), kind=st.sampled_from(PackKind))
def test_normalising_twice_is_normalising_once_and_nothing_is_lost(document: dict[str, Any], kind: PackKind) -> None:
    once = normalise(document, kind)
    twice = normalise(once.document, kind)
    assert twice.document == once.document
    # every leaf that is a number is still there, unless a fault says why it is not
    if not once.faults:
        written = json.dumps(once.document)
        assert [number for number in _numbers(document) if str(number) not in written] == []


def _numbers(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {number for item in value.values() for number in _numbers(item)}
    if isinstance(value, list):
        return {number for item in value for number in _numbers(item)}
    return {value} if isinstance(value, int) and abs(value) > 1 else set()


def test_nothing_about_a_tenants_egress_or_plan_is_dropped() -> None:
    document = tenant_document(egress={"allow_hosts": ["x.example"]}, unheard_of={"a": 1})
    pack = parse_tenant_pack(document)
    assert pack.egress is not None
    assert pack.egress.allowHosts == ["x.example"]
    assert [fault.path for fault in pack.warnings] == ["unheard_of"]
