"""What becomes of an exception on its way in, and how bad it is found to be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.domain.errors import ConditionFailedError, PayloadInvalidError
from service.domain.exceptions import Input, InputType, Outcome, PackVersions, Severity, Stage, Status
from service.domain.packs import PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.redaction import MASK
from service.domain.stages import DECIDE
from tests.unit.domain.given import NOON, domain_document, exception, packs, tenant_document

_PARCELS = packs(
    domain={
        "entities": {
            "Parcel": {
                "attributes": {
                    "id": {"type": "string", "required": True},
                    "weight": {"type": "number"},
                    "pieces": {"type": "integer"},
                    "fragile": {"type": "boolean"},
                }
            }
        },
        "sensitiveFields": ["customer.email"],
    }
)


def _intake(pack_set: PackSet = _PARCELS, **fields: Any) -> Outcome:
    record = exception(fields.pop("exception_type", "LATE"), fields.pop("payload", {}), **fields)
    return DECIDE[Stage.INTAKE](record, pack_set, NOON)


@pytest.mark.parametrize("given", ["LATE", " late ", "Late", "-late-"])
def test_a_type_is_found_however_the_source_spells_it(given: str) -> None:
    assert _intake(exception_type=given).changes.exception_type == "LATE"


@pytest.mark.parametrize("given", ["SettlementFail", "settlement fail", "settlement-fail", "SETTLEMENT__FAIL"])
def test_words_of_a_type_are_told_apart_however_they_are_joined(given: str) -> None:
    pack_set = packs(domain={"exceptionTypes": {"SETTLEMENT_FAIL": {}}})
    assert _intake(pack_set, exception_type=given).changes.exception_type == "SETTLEMENT_FAIL"


def test_a_type_that_nobody_knows_is_kept_and_noted() -> None:
    outcome = _intake(exception_type="wet Parcel")
    assert outcome.changes.exception_type == "WET_PARCEL"
    assert outcome.events[0].data["warnings"] == ["the domain pack has no exception type 'WET_PARCEL'"]


def test_a_payload_that_is_not_its_entity_is_refused_with_every_path() -> None:
    payload = {"weight": "heavy", "pieces": 1.5, "fragile": 1, "extra": None}
    with pytest.raises(PayloadInvalidError) as refused:
        _intake(payload=payload, entity="parcel")
    message = str(refused.value)
    assert "rawPayload.id is required (string) and missing" in message
    assert "rawPayload.weight must be of type number, not string" in message
    assert "rawPayload.pieces must be of type integer, not number" in message
    assert "rawPayload.fragile must be of type boolean, not integer" in message
    assert "heavy" not in message


def test_a_payload_that_is_its_entity_goes_on() -> None:
    payload = {"id": "P", "weight": 2, "pieces": 3.0, "fragile": None, "undeclared": []}
    assert _intake(payload=payload, entity="Parcel").finished is None


def test_an_entity_that_the_pack_does_not_have_is_refused() -> None:
    with pytest.raises(PayloadInvalidError, match="it has: Parcel"):
        _intake(entity="Pigeon")


def test_people_see_the_redacted_view() -> None:
    outcome = _intake(payload={"customer": {"email": "ada@example.org"}})
    assert outcome.changes.redacted_payload == {"customer": {"email": MASK}}
    assert outcome.changes.raw_payload is None
    assert outcome.events[0].data["redactedFields"] == ["customer.email"]


def test_an_update_replaces_the_payloads_top_level_keys() -> None:
    update = Input(InputType.UPDATED, {"rawPayload": {"b": {"new": 1}}, "severity": "LOW"})
    outcome = _intake(payload={"a": 1, "b": {"old": 1}}, input=update)
    assert outcome.changes.raw_payload == {"a": 1, "b": {"new": 1}}
    assert outcome.changes.redacted_payload == {"a": 1, "b": {"new": 1}}
    assert outcome.events[0].data["warnings"] == ["an update changes rawPayload, not 'severity'"]


def test_an_update_is_checked_as_the_whole_that_it_makes() -> None:
    update = Input(InputType.UPDATED, {"rawPayload": {"weight": "heavy"}})
    with pytest.raises(PayloadInvalidError, match=r"rawPayload\.weight"):
        _intake(payload={"id": "P"}, entity="Parcel", input=update)


@pytest.mark.parametrize("data", [{"rawPayload": []}, {"rawPayload": "x"}])
def test_an_update_that_is_no_object_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(PayloadInvalidError, match="object"):
        _intake(input=Input(InputType.UPDATED, data))


def test_a_comment_changes_nothing_but_the_log() -> None:
    said = Input(InputType.COMMENT, {"text": "mail ada@example.org"}, actor="bob")
    record = {
        "payload": {"customer": {"email": "ada@example.org"}},
        "resting_status": Status.PENDING_STEP,
        "input": said,
    }
    outcome = _intake(**record)
    assert outcome.finished is Status.PENDING_STEP
    [event] = outcome.events
    assert (event.type, event.data) == ("CommentAdded", {"text": f"mail {MASK}", "by": "bob"})


def test_a_cancellation_ends_it() -> None:
    outcome = _intake(input=Input(InputType.CANCELLED, {"reason": "sent in error"}, actor="bob"))
    assert outcome.finished is Status.CANCELLED
    assert outcome.events[0].data == {"reason": "sent in error", "by": "bob"}


def _triage(pack_set: PackSet, **fields: Any) -> Outcome:
    record = exception(fields.pop("exception_type", "LATE"), fields.pop("payload", {}), **fields)
    return DECIDE[Stage.TRIAGE](record, pack_set, NOON)


_RULES = [
    {"condition": "exceptionType == 'LATE' && rawPayload.days > 10", "severity": "CRITICAL"},
    {"condition": "rawPayload.vip", "severity": "HIGH"},
    {"condition": "exceptionType == 'LATE'", "severity": "LOW"},
    {"condition": "true", "severity": "CRITICAL"},
]


@pytest.mark.parametrize(
    ("payload", "severity", "by"),
    [
        ({"days": 11, "vip": True}, Severity.CRITICAL, "severityRules[0]"),
        ({"days": 1, "vip": True}, Severity.HIGH, "severityRules[1]"),
        ({"days": 1, "vip": False}, Severity.LOW, "severityRules[2]"),
    ],
)
def test_the_first_matching_rule_gives_the_severity(payload: dict[str, Any], severity: Severity, by: str) -> None:
    outcome = _triage(packs(domain={"severityRules": _RULES}), payload=payload)
    assert outcome.changes.severity is severity
    assert outcome.events[0].data["by"] == by


def test_rules_with_absent_fields_are_passed_over_and_shown() -> None:
    outcome = _triage(packs(domain={"severityRules": _RULES}))
    assert outcome.changes.severity is Severity.LOW
    assert outcome.events[0].data["rulesWithAbsentFields"] == ["severityRules[0]", "severityRules[1]"]


def test_a_rule_that_cannot_be_evaluated_fails_the_exception() -> None:
    with pytest.raises(ConditionFailedError, match=r"severityRules\[0\]\.condition"):
        _triage(packs(domain={"severityRules": _RULES}), payload={"days": "many"})


def test_the_tenants_override_wins_over_every_rule() -> None:
    tenant = {"customSeverityOverrides": [{"exceptionType": "late", "severity": "LOW"}]}
    outcome = _triage(packs(domain={"severityRules": _RULES}, tenant=tenant), payload={"days": "many"})
    assert (outcome.changes.severity, outcome.events[0].data["by"]) == (Severity.LOW, "customSeverityOverrides[0]")


def test_without_a_rule_the_severity_is_medium_whatever_the_source_said() -> None:
    outcome = _triage(packs(), reported_severity="CRITICAL")
    assert (outcome.changes.severity, outcome.events[0].data["by"]) == (Severity.MEDIUM, "default")


def test_a_rule_may_look_at_what_the_source_said() -> None:
    pack_set = packs(domain={"severityRules": [{"condition": "severity == 'HIGH'", "severity": "HIGH"}]})
    assert _triage(pack_set, reported_severity="high").changes.severity is Severity.HIGH
    assert _triage(pack_set, reported_severity="dreadful").changes.severity is Severity.MEDIUM
    assert _triage(pack_set).changes.severity is Severity.MEDIUM


def test_the_time_left_is_that_of_the_deadline_a_medium_exception_would_have() -> None:
    rules = [{"condition": "slaMinutesRemaining == 1440.0 && ageMinutes == 0.0", "severity": "HIGH"}]
    assert _triage(packs(domain={"severityRules": rules})).changes.severity is Severity.HIGH


def test_the_deadline_counts_from_when_it_was_received() -> None:
    outcome = _triage(packs(domain={"sla": {"minutesToResolve": {"MEDIUM": 30}}}))
    assert outcome.changes.deadline_at == NOON + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("name", "type_name", "confidence"), [("LATE", "LATE", 1.0), ("WET", "WET", 0.5), (None, "UNKNOWN", 0.5)]
)
def test_confidence_says_whether_the_pack_knows_the_type(name: str | None, type_name: str, confidence: float) -> None:
    outcome = _triage(packs(), exception_type=name)
    assert (outcome.changes.exception_type, outcome.changes.confidence) == (type_name, confidence)


def test_a_pack_set_knows_the_versions_it_was_built_from() -> None:
    domain = parse_domain_pack(domain_document())
    versions = PackVersions(domain=3, tenant=5)
    assert build_pack_set(domain, parse_tenant_pack(tenant_document()), versions).versions == versions
