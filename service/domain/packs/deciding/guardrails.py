"""Guardrails in force: the tenant's replace the domain's key by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.domain.exceptions import Severity
from service.domain.packs.models import ApprovalRule, DomainPack, Guardrails, TenantPack


@dataclass(frozen=True, slots=True)
class EffectiveGuardrails:
    """What this tenant's plans may do without a person, and which tools they may call at all."""

    approved: frozenset[str]
    """Empty: the tenant names none, so it approves all of its domain's."""
    allowed: frozenset[str]
    """Empty: no allow list."""
    blocked: frozenset[str]
    threshold: float
    approval_by_severity: Mapping[Severity, str]
    """Severities that need approval, with the rule that says so."""
    approval_rules: Mapping[Severity, ApprovalRule]
    """The rule in force for a severity, whether it asks for approval or not: how many people, until when."""

    @classmethod
    def of(cls, domain: DomainPack, tenant: TenantPack) -> EffectiveGuardrails:
        """Join the domain's and the tenant's."""
        rules: dict[Severity, tuple[ApprovalRule, str]] = {}
        for index, rule in enumerate(tenant.humanApprovalRules):
            rules.setdefault(rule.severity, (rule, f"humanApprovalRules[{index}]"))
        own = tenant.customGuardrails
        named = set() if own is None else own.model_fields_set

        def in_force(key: str) -> Guardrails:
            return own if own is not None and key in named else domain.guardrails

        return cls(
            approved=frozenset(tenant.approvedTools),
            allowed=frozenset(in_force("allowLists").allowLists),
            blocked=frozenset(in_force("blockLists").blockLists),
            threshold=in_force("humanApprovalThreshold").humanApprovalThreshold,
            approval_by_severity={severity: by for severity, (rule, by) in rules.items() if rule.requireApproval},
            approval_rules={severity: rule for severity, (rule, _) in rules.items()},
        )

    def refusal_of(self, tool: str) -> str | None:
        """Why a tool may not be called; None: it may."""
        if self.approved and tool not in self.approved:
            return "it is not in the tenant's approvedTools"
        if tool in self.blocked:
            return "it is in a block list (guardrails.blockLists)"
        if self.allowed and tool not in self.allowed:
            return "it is not in the allow list (guardrails.allowLists)"
        return None

    def reasons_for_approval(self, severity: Severity, confidence: float) -> tuple[str, ...]:
        """Why a person has to approve; empty: nobody has to."""
        reasons = []
        by = self.approval_by_severity.get(severity)
        if by is not None:
            reasons.append(f"severity {severity} requires approval ({by})")
        if confidence < self.threshold:
            reasons.append(
                f"confidence {confidence:g} is below the threshold of {self.threshold:g} (humanApprovalThreshold)"
            )
        return tuple(reasons)
