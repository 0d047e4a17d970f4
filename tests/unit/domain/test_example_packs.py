"""The packs that come with the product do what their documentation says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.domain.exceptions import Input, InputType, Stage, Status
from service.domain.pack_suites import run_suites
from service.domain.packs import parse_domain_pack, parse_tenant_pack
from service.domain.plan_documents import to_document
from service.domain.planning import resolved_call
from tests.unit.domain.given import NOON, VARIABLES, Walk, example, example_packs, exception, walk

_PAIRS = [
    ("TradeOperations", "DEMO_TRADING"),
    ("ClaimsProcessing", "DEMO_CLAIMS"),
    ("CapitalMarketsTrading", "TENANT_FINANCE_001"),
]
_SAMPLES = example("samples.json")


@pytest.mark.parametrize(("domain", "tenant"), _PAIRS)
def test_example_packs_are_read_without_a_warning(domain: str, tenant: str) -> None:
    domain_pack = parse_domain_pack(example(f"{domain}.domain.json"), VARIABLES)
    assert domain_pack.warnings == ()
    assert parse_tenant_pack(example(f"{tenant}.tenant.json"), domain_pack).warnings == ()


@pytest.mark.parametrize(("domain", "tenant"), _PAIRS[:2])
def test_our_own_packs_pass_their_suites_with_and_without_their_tenant(domain: str, tenant: str) -> None:
    domain_pack = parse_domain_pack(example(f"{domain}.domain.json"), VARIABLES)
    tenant_pack = parse_tenant_pack(example(f"{tenant}.tenant.json"), domain_pack)
    for results in (run_suites(domain_pack, NOON), run_suites(domain_pack, NOON, tenant_pack)):
        assert len(results) >= 3
        assert {result.mismatches for result in results} == {()}


def test_a_suite_that_expects_what_the_pack_does_not_say_fails_case_by_case() -> None:
    # given the pack that came to us, with a case whose severity no rule gives
    results = run_suites(parse_domain_pack(example("CapitalMarketsTrading.domain.json")), NOON)
    # then that case fails and says how, and the other one passes
    assert [result.passed for result in results] == [False, True]
    [mismatch] = results[0].mismatches
    assert (mismatch.key, mismatch.expected, mismatch.actual) == ("severity", "HIGH", "MEDIUM")


def _sample(name: str) -> Walk:
    body = _SAMPLES[name]
    record = exception(body["exceptionType"], body["rawPayload"], entity=body.get("entity"))
    return walk(record, example_packs("TradeOperations", "DEMO_TRADING"), {"status": "ok"})


@pytest.mark.parametrize(
    ("name", "finished", "tool", "batched"),
    [
        ("straight", Status.RESOLVED, "retrySettlement", False),
        ("batch", Status.RESOLVED, "repairAllocation", True),
        ("transient", Status.RESOLVED, "drill", False),
        ("permanent", Status.RESOLVED, "drill", False),
    ],
)
def test_samples_with_a_tool_run_straight_through(name: str, finished: Status, tool: str, batched: bool) -> None:
    done = _sample(name)
    assert (done.finished, len(done.events)) == (finished, 8)
    assert done.record.plan is not None
    call = done.record.plan.steps[0].tool_call
    assert call is not None
    assert (call.tool, call.batch_url is not None) == (tool, batched)
    assert call.url == f"{VARIABLES['toolServerUrl']}/tools/{tool}"


def test_the_internal_sample_needs_no_tool() -> None:
    done = _sample("internal")
    assert done.finished is Status.RESOLVED
    assert "ToolExecutionRequested" not in done.types


def test_the_approval_sample_is_resolved_once_approved() -> None:
    waiting = _sample("approval")
    assert waiting.finished is Status.PENDING_APPROVAL
    approved = replace(waiting.record, sequence=2, input=Input(InputType.APPROVED, actor="bob"))
    done = walk(approved, example_packs("TradeOperations", "DEMO_TRADING"), start=Stage.POLICY)
    assert done.finished is Status.RESOLVED


def test_the_manual_sample_waits_for_a_person_and_then_calls_its_tool() -> None:
    waiting = _sample("manual")
    assert waiting.finished is Status.PENDING_STEP
    report = Input(InputType.STEP_COMPLETED, {"stepOrder": 1}, actor="bob")
    pack_set = example_packs("TradeOperations", "DEMO_TRADING")
    done = walk(replace(waiting.record, input=report), pack_set, start=Stage.PLAYBOOK)
    assert done.finished is Status.RESOLVED
    assert done.data("ToolExecutionCompleted")["tool"] == "postCashAdjustment"


@pytest.mark.parametrize(
    ("exception_type", "severity", "by", "finished"),
    [
        ("SETTLEMENT_FAIL", "HIGH", "severityRules[2]", Status.PENDING_STEP),
        ("POSITION_BREAK", "CRITICAL", "severityRules[0]", Status.PENDING_APPROVAL),
        ("SEC_MASTER_MISMATCH", "LOW", "customSeverityOverrides[1]", Status.ESCALATED),
        ("FAILED_ALLOCATION", "MEDIUM", "default", Status.PENDING_STEP),
        ("REG_REPORT_REJECTED", "HIGH", "customSeverityOverrides[0]", Status.PENDING_STEP),
    ],
)
def test_the_capital_markets_pack_decides_as_it_is_written(
    exception_type: str, severity: str, by: str, finished: Status
) -> None:
    pack_set = example_packs("CapitalMarketsTrading", "TENANT_FINANCE_001")
    came = walk(exception(exception_type, {"orderId": "ORD-1"}), pack_set)
    triage: dict[str, Any] = dict(came.data("TriageCompleted"))
    assert (triage["severity"], triage["by"], came.finished) == (severity, by, finished)


def test_a_claims_tool_reads_the_date_of_birth_and_nobody_else_does() -> None:
    payload = {"claimId": "C", "memberId": "M", "patient": {"dateOfBirth": "1990-01-01", "ssn": "123-45-6789"}}
    came = walk(exception("ELIGIBILITY_MISMATCH", payload), example_packs("ClaimsProcessing", "DEMO_CLAIMS"), payload)
    assert came.record.plan is not None
    step = came.record.plan.steps[0]
    call = resolved_call(step, came.record, example_packs("ClaimsProcessing", "DEMO_CLAIMS"))
    assert call.parameters["dateOfBirth"] == "1990-01-01"
    assert "1990-01-01" not in str(to_document(came.record.plan))
    # and although the tool repeats the payload, no event holds it
    assert "1990-01-01" not in str(came.events)
    assert "123-45-6789" not in str(came.events)
