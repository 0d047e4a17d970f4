"""A domain pack and a tenant pack, joined and compiled: what the stages decide with.

Built once for each pair of versions and used for every exception decided with it. Precedence is settled
here: the tenant's overrides, guardrails, playbooks and deadlines before the domain's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.domain.conditions import Condition, Situation, compile_condition
from service.domain.detectors import Detector
from service.domain.exceptions import ExceptionRecord, PackVersions, Severity
from service.domain.packs.checking.checks import Surroundings, tenant_faults
from service.domain.packs.deciding.detection import DetectionRules
from service.domain.packs.deciding.guardrails import EffectiveGuardrails
from service.domain.packs.deciding.notices import Notices
from service.domain.packs.deciding.playbook_index import PlaybookIndex
from service.domain.packs.deciding.policy_tags import PolicyTags
from service.domain.packs.deciding.relations import KnownEntity, known_entities
from service.domain.packs.deciding.tool_overrides import overridden
from service.domain.packs.faults import PackInvalidError
from service.domain.packs.models import DEFAULT_MINUTES_TO_RESOLVE, DomainPack, TenantPack
from service.domain.packs.naming import normal_name
from service.domain.packs.notifications import NotificationPolicy
from service.domain.packs.retry_rules import retry_policies
from service.domain.patterns import Patterns
from service.domain.redaction import Redactor
from service.domain.retries import RetryPolicies
from service.domain.selection import Selection


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A severity rule, ready to be asked."""

    condition: Condition
    severity: Severity
    by: str
    """Its place in the pack, as events name it: `severityRules[2]`."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules to ask about exceptions of one type, in order."""

    rules: tuple[CompiledRule, ...]
    selection: Selection

    @classmethod
    def of(cls, rules: Iterable[CompiledRule]) -> RuleSet:
        """Gather rules."""
        ordered = tuple(rules)
        return cls(ordered, Selection.of([rule.condition for rule in ordered]))


@dataclass(frozen=True, slots=True)
class SeverityRules:
    """Severity rules in their order, sorted out by the type they can match."""

    _by_type: Mapping[str, RuleSet]
    _for_others: RuleSet

    @classmethod
    def of(cls, rules: Iterable[CompiledRule]) -> SeverityRules:
        """Keep for each type only the rules that can match it."""
        ordered = tuple(rules)
        types = {name for rule in ordered for name in rule.condition.types or ()}
        by_type = {name: RuleSet.of(rule for rule in ordered if _can_match(rule, name)) for name in types}
        return cls(by_type, RuleSet.of(rule for rule in ordered if rule.condition.types is None))

    def for_type(self, name: str) -> RuleSet:
        """The rules that can match exceptions of a type, in the pack's order."""
        return self._by_type.get(name, self._for_others)


@dataclass(frozen=True, slots=True)
class Override:
    """A tenant's own severity of a type."""

    severity: Severity
    by: str


@dataclass(frozen=True, slots=True)
class PackSet:
    """Everything the stages need to know of one tenant and its domain."""

    domain: DomainPack
    tenant: TenantPack
    versions: PackVersions
    overrides: Mapping[str, Override]
    severity_rules: SeverityRules
    guardrails: EffectiveGuardrails
    playbooks: PlaybookIndex
    redactor: Redactor
    minutes_to_resolve: Mapping[Severity, float]
    detection: DetectionRules
    policy_tags: PolicyTags
    notifications: tuple[NotificationPolicy, ...]
    """The domain's, then the tenant's: all of them apply."""
    notices: Notices
    """They, ready to be asked."""
    retries: RetryPolicies
    _types: Mapping[str, str]
    _entities: Mapping[str, KnownEntity]

    def type_named(self, name: str) -> str | None:
        """The pack's exception type of that name, however it is spelled; None: the pack has none."""
        return self._types.get(name) or self._types.get(normal_name(name))

    def entity_named(self, name: str) -> KnownEntity | None:
        """The pack's entity of that name, whatever its case."""
        return self._entities.get(name) or self._entities.get(name.strip().casefold())

    def situation(
        self,
        record: ExceptionRecord,
        now: datetime,
        type_name: str,
        severity: str | None,
        deadline: datetime,
        reads: frozenset[str] | None,
    ) -> Situation:
        """An exception as conditions see it, with the policy tags that the packs give it."""

        def tags() -> tuple[str, ...]:
            return self.policy_tags.tagged(record, now, type_name, deadline).tags

        return Situation(record, now, type_name, severity, deadline, reads, tags)

    def deadline(self, received_at: datetime, severity: Severity) -> datetime:
        """Until when an exception of a severity has to be resolved."""
        return received_at + timedelta(minutes=self.minutes_to_resolve[severity])


def build_pack_set(domain: DomainPack, tenant: TenantPack, versions: PackVersions) -> PackSet:
    """Join and compile two packs. Raises PackInvalidError when the tenant pack does not fit the domain."""
    written = tenant.model_dump(mode="json", exclude_unset=True)
    faults = tuple(tenant_faults(written, Surroundings.of_pack(domain)))
    if faults:
        raise PackInvalidError("tenant", faults)
    domain = domain.model_copy(update={"tools": overridden(domain.tools, tenant.toolOverrides).tools})
    types = {spelling: name for name in domain.exceptionTypes for spelling in (normal_name(name), name)}
    redactor = _redactor(domain, tenant)
    guardrails = EffectiveGuardrails.of(domain, tenant)
    return PackSet(
        domain=domain,
        tenant=tenant,
        versions=versions,
        overrides=_overrides(tenant, types),
        severity_rules=SeverityRules.of(_compiled_rules(domain)),
        guardrails=guardrails,
        playbooks=PlaybookIndex.of(domain, tenant, guardrails, redactor, types),
        redactor=redactor,
        minutes_to_resolve={
            **DEFAULT_MINUTES_TO_RESOLVE,
            **domain.sla.minutesToResolve,
            **tenant.sla.minutesToResolve,
        },
        detection=DetectionRules.of(domain),
        policy_tags=PolicyTags.of(domain, tenant),
        notifications=(*domain.notificationPolicies, *tenant.notificationPolicies),
        notices=Notices.of(domain.notificationPolicies, tenant.notificationPolicies),
        retries=retry_policies(
            domain.retryPolicies,
            tenant.retryPolicies,
            {name: tool.retry_overrides() for name, tool in domain.tools.items()},
        ),
        _types=types,
        _entities=known_entities(domain.entities),
    )


def _redactor(domain: DomainPack, tenant: TenantPack) -> Redactor:
    sensitive = [*domain.sensitivePatterns, *tenant.sensitivePatterns]
    return Redactor.of(
        [*domain.sensitiveFields, *tenant.sensitiveFields],
        Patterns.of(
            keys=[pattern.keys for pattern in sensitive if pattern.keys is not None],
            values=[pattern.values for pattern in sensitive if pattern.values is not None],
        ),
        set(Detector) - {*domain.detectorsOff, *tenant.detectorsOff},
    )


def _overrides(tenant: TenantPack, types: Mapping[str, str]) -> dict[str, Override]:
    overrides: dict[str, Override] = {}
    for index, override in enumerate(tenant.customSeverityOverrides):
        name = types.get(normal_name(override.exceptionType), override.exceptionType)
        overrides.setdefault(name, Override(override.severity, f"customSeverityOverrides[{index}]"))
    return overrides


def _compiled_rules(domain: DomainPack) -> Iterable[CompiledRule]:
    for index, rule in enumerate(domain.severityRules):
        by = f"severityRules[{index}]"
        yield CompiledRule(compile_condition(rule.condition, f"{by}.condition"), rule.severity, by)


def _can_match(rule: CompiledRule, type_name: str) -> bool:
    return rule.condition.types is None or type_name in rule.condition.types
