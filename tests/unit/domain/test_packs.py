"""What a pack may say, and how everything that is wrong with one is told at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.exceptions import Severity
from service.domain.packs import (
    Fault,
    PackInvalidError,
    build_pack_set,
    canonical_hash,
    parse_domain_pack,
    parse_tenant_pack,
)
from tests.unit.domain.given import VERSIONS, call_tool, comment, domain_document, playbook, set_status, tenant_document


def _faults(**keys: Any) -> dict[str, str]:
    with pytest.raises(PackInvalidError) as refused:
        parse_domain_pack(domain_document(**keys))
    return {fault.path: fault.message for fault in refused.value.faults}


def test_every_fault_is_told_in_one_answer_with_its_path() -> None:
    # given a pack with faults of every kind in every part
    document = {
        "entities": {"Parcel": {"attributes": {"id": {"type": "strin"}}, "relations": ["Depot"]}},
        "exceptionTypes": {"LATE": {}, "late": {}},
        "severityRules": [
            {"condition": "exceptionType ==", "severity": "HIGH"},
            {"condition": "true", "severity": "TERRIBLE"},
            {"severity": "LOW"},
            "true",
        ],
        "tools": {
            "trace": {"endpoint": "ftp://tools.example", "parameters": {"id": {"type": "string", "required": True}}},
            "find": {"endpoint": "${nobodyGaveThis}/find"},
            "send": {"endpoint": "https://tools.example/{{ exception.tenantId }}"},
        },
        "playbooks": [
            {
                "exceptionType": "VANISHED",
                "steps": [
                    {"step_order": 1, "action_type": "call_tool", "params": {"tool": "teleport"}},
                    {"step_order": 1, "action_type": "call_tool", "params": {"tool": "trace"}},
                    {"action_type": "teleport", "params": {}},
                    {"action_type": "set_status", "params": {"status": "OPEN"}},
                    {"action_type": "add_comment", "params": {"text": "{{ exception."}, "condition": "1 +"},
                    {"action_type": "assign_owner", "params": {}},
                ],
            },
            {"exceptionType": "LATE", "steps": []},
            {"conditions": {"match": {"colour": ["x"]}}, "steps": [{"parameters": {}}]},
        ],
        "guardrails": {"humanApprovalThreshold": 1.5},
        "testSuites": [{"input": {}}],
        "sensitiveFields": ["customer..taxId"],
        "sla": {"minutesToResolve": {"HIGH": -1}},
    }
    # when it is read, then each is told where it is
    faults = _faults(**document)
    assert set(faults) == {
        "entities.Parcel.attributes.id.type",
        "entities.Parcel.relations[0]",
        "exceptionTypes.late",
        "severityRules[0].condition",
        "severityRules[1].severity",
        "severityRules[2].condition",
        "severityRules[3]",
        "tools.trace.endpoint",
        "tools.find.endpoint",
        "tools.send.endpoint",
        "playbooks[0].exceptionType",
        "playbooks[0].steps[0].params.tool",
        "playbooks[0].steps[1].step_order",
        "playbooks[0].steps[1].params.parameters.id",
        "playbooks[0].steps[2].action_type",
        "playbooks[0].steps[3]",
        "playbooks[0].steps[3].params.status",
        "playbooks[0].steps[4].condition",
        "playbooks[0].steps[4].params.text",
        "playbooks[0].steps[5].params.owner",
        "playbooks[1].steps",
        "playbooks[2].conditions.match.colour",
        "playbooks[2].steps[0]",
        "guardrails.humanApprovalThreshold",
        "testSuites[0].expectedOutput",
        "sensitiveFields[0]",
        "sla.minutesToResolve.HIGH",
    }
    assert faults["severityRules[0].condition"].startswith("not a CEL expression: line 1, column 17")
    assert faults["playbooks[0].steps[0].params.tool"] == "the domain has no tool 'teleport'"


@pytest.mark.parametrize("document", [None, [], "pack", 3])
def test_what_is_not_an_object_is_a_fault_and_not_a_crash(document: Any) -> None:
    with pytest.raises(PackInvalidError, match="must be an object"):
        parse_domain_pack(document)
    with pytest.raises(PackInvalidError, match="must be an object"):
        parse_tenant_pack(document)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    key=st.sampled_from(
        ["entities", "exceptionTypes", "severityRules", "tools", "playbooks", "guardrails", "testSuites", "sla"]
    ),
    value=_json,
)
def test_nonsense_anywhere_is_a_pack_or_faults_never_a_crash(key: str, value: Any) -> None:
    for parse, document in (
        (parse_domain_pack, domain_document(**{key: value})),
        (parse_domain_pack, domain_document(playbooks=[{"exceptionType": "LATE", "steps": [value], key: value}])),
        (parse_tenant_pack, tenant_document(customPlaybooks=value, humanApprovalRules=value, customGuardrails=value)),
    ):
        try:
            parse(document)
        except PackInvalidError as refused:
            assert refused.faults


def test_a_key_that_nobody_knows_is_warned_of_with_its_path() -> None:
    pack = parse_domain_pack(
        domain_document(
            colour="red",
            severityRules=[{"condition": "true", "severity": "LOW", "because": "I say so"}],
            playbooks=[playbook({**comment(), "onFailure": "retry"})],
        )
    )
    assert {fault.path for fault in pack.warnings} == {
        "colour",
        "severityRules[0].because",
        "playbooks[0].steps[0].onFailure",
    }


def test_what_is_said_in_vain_is_warned_of() -> None:
    pack = parse_domain_pack(
        domain_document(
            exceptionTypes={"LATE": {"detectionRules": [{"condition": "late(rawPayload)"}]}},
            entities={"Parcel": {"relations": ["Depot"]}, "Depot": {}},
            severityRules=[
                {"condition": "exceptionType == 'EARLY'", "severity": "LOW"},
                {"condition": "weather == 'rain' && lower('A') == 'a'", "severity": "LOW"},
            ],
            playbooks=[playbook(call_tool(id="x", colour="{{ exception.rawPayload.customer.taxId }}"))],
            sensitiveFields=["customer.taxId"],
            guardrails={"blockLists": ["teleport"]},
        )
    )
    assert [fault.path for fault in pack.warnings] == [
        "entities.Parcel.relations[0]",
        "severityRules[0].condition",
        "severityRules[1].condition",
        "severityRules[1].condition",
        "exceptionTypes.LATE.detectionRules[0].condition",
        "guardrails.blockLists[0]",
        "playbooks[0].steps[0].params.parameters.colour",
        "playbooks[0].steps[0].params.parameters.colour",
    ]


def test_an_unconditional_end_has_to_be_the_last_step() -> None:
    assert "playbooks[0].steps[0]" in _faults(playbooks=[playbook(set_status("RESOLVED"), comment())])
    # but a conditional one may stand anywhere
    parse_domain_pack(domain_document(playbooks=[playbook(set_status("ESCALATED", condition="true"), comment())]))


def test_a_constant_that_the_tool_cannot_take_is_found_when_the_pack_is_read() -> None:
    assert "playbooks[0].steps[0].params.parameters.id" in _faults(playbooks=[playbook(call_tool(id=5))])


def test_a_variable_of_the_operator_is_put_into_endpoints_and_not_into_the_hash() -> None:
    document = domain_document(tools={"trace": {"endpoint": "${host}/trace", "batchEndpoint": "${host}/trace/batch"}})
    before = copy.deepcopy(document)
    pack = parse_domain_pack(document, {"host": "http://127.0.0.1:7000/"})
    assert pack.tools["trace"].endpoint == "http://127.0.0.1:7000/trace"
    assert pack.tools["trace"].batchEndpoint == "http://127.0.0.1:7000/trace/batch"
    assert document == before


@pytest.mark.parametrize(
    "url", ["https://user:pw@tools.example/x", "https:///x", "tools.example/x", "file:///etc/passwd", "https://x/#y"]
)
def test_an_endpoint_that_no_tool_should_have_is_refused(url: str) -> None:
    assert "tools.trace.endpoint" in _faults(tools={"trace": {"endpoint": url}})


def test_a_tenant_that_does_not_fit_its_domain_is_refused_with_every_fault() -> None:
    domain = parse_domain_pack(domain_document())
    document = tenant_document(
        domainName="Elsewhere",
        customSeverityOverrides=[{"exceptionType": "VANISHED", "severity": "LOW"}],
        customPlaybooks=[playbook(call_tool("teleport"))],
    )
    # when it is read with its domain, or read without it and joined later
    with pytest.raises(PackInvalidError) as read:
        parse_tenant_pack(document, domain)
    with pytest.raises(PackInvalidError) as joined:
        build_pack_set(domain, parse_tenant_pack(document), VERSIONS)
    # then the same faults are told
    paths = {"domainName", "customSeverityOverrides[0].exceptionType", "customPlaybooks[0].steps[0].params.tool"}
    assert {fault.path for fault in read.value.faults} == paths
    assert {fault.path for fault in joined.value.faults} == paths


def test_deadlines_come_from_the_tenant_then_the_domain_then_the_defaults() -> None:
    domain = parse_domain_pack(domain_document(sla={"minutesToResolve": {"HIGH": 100, "LOW": 200}}))
    tenant = parse_tenant_pack(tenant_document(sla={"minutesToResolve": {"HIGH": 10}}), domain)
    minutes = build_pack_set(domain, tenant, VERSIONS).minutes_to_resolve
    assert minutes == {Severity.CRITICAL: 60, Severity.HIGH: 10, Severity.MEDIUM: 1_440, Severity.LOW: 200}


def test_the_hash_is_of_what_is_said_not_of_how_it_is_laid_out() -> None:
    assert canonical_hash({"a": 1, "b": [1, 2]}) == canonical_hash({"b": [1, 2], "a": 1})
    assert canonical_hash({"a": [1, 2]}) != canonical_hash({"a": [2, 1]})
    assert canonical_hash({"a": "é"}) != canonical_hash({"a": "e"})
    assert len(canonical_hash({})) == 64


def test_a_fault_reads_as_one_line() -> None:
    assert str(Fault("severityRules[2].condition", "is required")) == "severityRules[2].condition: is required"
