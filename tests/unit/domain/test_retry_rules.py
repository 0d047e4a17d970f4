"""Who decides about a retry: the table, then the domain pack, the tenant's, the tool; each key by itself."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.exceptions import PackVersions, Stage
from service.domain.packs import PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.packs.faults import PackInvalidError
from service.domain.retries import DEFAULTS
from service.errors import ErrorKind

TRANSIENT, LIMITED = ErrorKind.TRANSIENT, ErrorKind.RATE_LIMITED
PAY = {"endpoint": "https://pay.example/pay", "parameters": {}}


def packs(domain: dict[str, Any] | None = None, tenant: dict[str, Any] | None = None, **pay: Any) -> PackSet:
    return build_pack_set(
        parse_domain_pack({"domainName": "Claims", "tools": {"pay": {**PAY, **pay}}, **(domain or {})}),
        parse_tenant_pack({"tenantId": "ACME", "domainName": "Claims", **(tenant or {})}),
        PackVersions(1, 1),
    )


def faults(document: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(PackInvalidError) as refused:
        parse_domain_pack({"domainName": "Claims", **document})
    return [(fault.path, fault.message) for fault in refused.value.faults]


def test_without_a_word_in_the_packs_the_table_counts() -> None:
    found = packs().retries
    for stage in Stage:
        for kind in ErrorKind:
            assert found.of(stage, kind) == DEFAULTS.of(stage, kind)
    assert found.of_call("pay", TRANSIENT, 3) == DEFAULTS.of(Stage.TOOL, TRANSIENT)


def test_the_tenant_overrides_the_domain_key_by_key() -> None:
    # given a domain and a tenant that say different things about one stage
    found = packs(
        {"retryPolicies": {"triage": {"transient": {"maxRetries": 9, "backoffSeconds": 2}}}},
        {"retryPolicies": {"triage": {"transient": {"maxRetries": 1}, "rateLimited": {"maxRetryAfterSeconds": 60}}}},
    ).retries
    # then of each key the nearest word counts
    policy = found.of(Stage.TRIAGE, TRANSIENT)
    assert (policy.max_retries, policy.backoff_seconds, policy.max_backoff_seconds) == (1, 2, 60)
    assert found.of(Stage.TRIAGE, LIMITED).max_retry_after_seconds == 60
    # and other stages are as they were
    assert found.of(Stage.POLICY, TRANSIENT) == DEFAULTS.of(Stage.POLICY, TRANSIENT)


def test_what_the_packs_say_of_the_tool_stage_is_said_of_every_tool_that_says_nothing() -> None:
    found = packs(tenant={"retryPolicies": {"tool": {"transient": {"maxRetries": 7}}}}).retries
    assert found.of_call("pay", TRANSIENT, 3).max_retries == 7


def test_a_tools_own_word_counts_most() -> None:
    stages = {"retryPolicies": {"tool": {"transient": {"maxRetries": 7, "backoffSeconds": 3}}}}
    # given the short form, it is the number of retries and nothing else
    short = packs(stages, maxRetries=2).retries.of_call("pay", TRANSIENT, 2)
    assert (short.max_retries, short.backoff_seconds) == (2, 3)
    # given the long one, each key by itself, and ahead of the short one
    rules = {"transient": {"maxRetries": 4}, "rateLimited": {"maxRetries": 0}}
    found = packs(stages, maxRetries=2, retry=rules).retries
    assert (found.of_call("pay", TRANSIENT, 2).max_retries, found.of_call("pay", LIMITED, 2).max_retries) == (4, 0)


def test_a_tenant_changes_a_tools_retries_with_tool_overrides() -> None:
    overrides = {"toolOverrides": {"pay": {"retry": {"transient": {"maxRetries": 0}}}}}
    assert packs(tenant=overrides, maxRetries=9).retries.of_call("pay", TRANSIENT, 9).max_retries == 0
    overrides = {"toolOverrides": {"pay": {"maxRetries": 1}}}
    assert packs(tenant=overrides, maxRetries=9).retries.of_call("pay", TRANSIENT, 1).max_retries == 1


def test_a_call_that_no_pack_defines_has_its_own_limit() -> None:
    # given a notification, which says how often it is tried
    found = packs().retries
    assert found.of_call("notify", TRANSIENT, 11).max_retries == 11
    assert found.of_call("notify", LIMITED, 11) == DEFAULTS.of(Stage.TOOL, LIMITED)


@pytest.mark.parametrize("kind", ["permanent", "poison"])
def test_an_author_who_wants_the_hopeless_repeated_is_told(kind: str) -> None:
    ((path, message),) = faults({"retryPolicies": {"tool": {kind: {"maxRetries": 3}}}})
    assert path == "retryPolicies.tool"
    assert kind in message
    assert "never tried again" in message


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"maxRetries": -1}, "retryPolicies.triage.transient.maxRetries"),
        ({"maxRetries": 101}, "retryPolicies.triage.transient.maxRetries"),
        ({"maxRetries": "three"}, "retryPolicies.triage.transient.maxRetries"),
        ({"backoffSeconds": -0.5}, "retryPolicies.triage.transient.backoffSeconds"),
        ({"maxBackoffSeconds": 1e9}, "retryPolicies.triage.transient.maxBackoffSeconds"),
        ({"backoffSeconds": 20, "maxBackoffSeconds": 10}, "retryPolicies.triage.transient"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_at_its_place(rule: dict[str, Any], path: str) -> None:
    assert [found for found, _ in faults({"retryPolicies": {"triage": {"transient": rule}}})] == [path]


def test_a_tools_rules_are_checked_too_and_so_are_overrides() -> None:
    tool = {**PAY, "retry": {"rateLimited": {"maxRetryAfterSeconds": 0}}}
    assert [path for path, _ in faults({"tools": {"pay": tool}})] == [
        "tools.pay.retry.rateLimited.maxRetryAfterSeconds"
    ]
    with pytest.raises(PackInvalidError) as refused:
        packs(tenant={"toolOverrides": {"pay": {"retry": {"transient": {"maxRetries": -1}}}}})
    assert [fault.path for fault in refused.value.faults] == ["toolOverrides.pay.retry.transient.maxRetries"]


def test_a_key_nobody_knows_is_a_warning() -> None:
    pack = parse_domain_pack({"domainName": "Claims", "retryPolicies": {"tool": {"transient": {"maxTries": 3}}}})
    assert [fault.path for fault in pack.warnings] == ["retryPolicies.tool.transient.maxTries"]
