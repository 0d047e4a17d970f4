"""The page on packs is true: its packs are valid, pass their suites, and do what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from service.domain.events import EventType
from service.domain.exceptions import Status
from service.domain.pack_suites import run_suites
from service.domain.packs import build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.packs.models import DEFAULT_MINUTES_TO_RESOLVE, DomainPack, TenantPack
from service.domain.packs.notifications import TOLD
from service.domain.packs.parts import Part
from tests.unit.domain.given import NOON, VERSIONS, example_packs, exception, walk

_PAGE = (Path(__file__).parents[3] / "docs" / "packs.md").read_text()
_DOMAIN, _TENANT, _POLICIES, _BODY = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL))


def test_the_packs_of_the_page_are_valid_and_pass_their_suite() -> None:
    domain = parse_domain_pack(_DOMAIN)
    tenant = parse_tenant_pack(_TENANT, domain)
    assert (domain.warnings, tenant.warnings) == ((), ())
    assert [result.mismatches for result in run_suites(domain, NOON, tenant)] == [()]


def test_the_exception_of_the_page_waits_for_approval() -> None:
    domain = parse_domain_pack(_DOMAIN)
    pack_set = build_pack_set(domain, parse_tenant_pack(_TENANT, domain), VERSIONS)
    posted: dict[str, Any] = json.loads(re.findall(r"-d '(\{.*?\})'", _PAGE, re.DOTALL)[0])
    came = walk(exception(posted["exceptionType"], posted["rawPayload"], entity=posted["entity"]), pack_set)
    assert came.finished is Status.PENDING_APPROVAL


def test_the_body_for_the_capital_markets_pack_does_what_the_page_says() -> None:
    pack_set = example_packs("CapitalMarketsTrading", "TENANT_FINANCE_001")
    came = walk(exception(_BODY["exceptionType"], _BODY["rawPayload"], entity=_BODY["entity"]), pack_set)
    assert (came.finished, came.data("TriageCompleted")["by"]) == (Status.PENDING_STEP, "severityRules[2]")
    assert came.data("PlaybookMatched")["steps"] == 4


@pytest.mark.parametrize("part", [DomainPack, TenantPack])
def test_every_key_is_on_the_page(part: type[Part]) -> None:
    assert not {key for key in part.model_fields if f"`{key}`" not in _PAGE}


def test_the_default_deadlines_are_on_the_page() -> None:
    assert all(f"`{severity}` {minutes:g}" in _PAGE for severity, minutes in DEFAULT_MINUTES_TO_RESOLVE.items())


def test_the_notification_policies_are_read_without_a_word() -> None:
    pack = parse_domain_pack(_POLICIES)
    assert [fault.path for fault in pack.warnings] == []
    assert [policy.channel for policy in pack.notificationPolicies] == ["webhook", "email"]


def test_the_page_names_every_event_that_can_be_told_of() -> None:
    assert {event for event in EventType if f"`{event}`" in _PAGE} >= TOLD
