"""Domain packs and tenant packs as typed, immutable values. JSON keys are the field names.

What a part means by itself is checked here; what parts say about one another (a playbook naming a tool)
in `checks`; how they act in `compiled`. docs/packs.md is the reference for people who write packs.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from service.domain.exceptions import Severity
from service.domain.packs.parts import (
    Attribute,
    ConditionText,
    HostPattern,
    Minutes,
    Name,
    Part,
    PayloadPath,
    SeverityName,
)
from service.domain.packs.playbooks import Playbook
from service.domain.packs.tools import AnyTool

DEFAULT_MINUTES_TO_RESOLVE = {
    Severity.CRITICAL: 60.0,
    Severity.HIGH: 240.0,
    Severity.MEDIUM: 1_440.0,
    Severity.LOW: 4_320.0,
}
"""Deadlines where no pack says otherwise: an hour, four hours, a day, three days after the exception was received."""


class Entity(Part):
    """A thing of the domain that a payload describes."""

    attributes: dict[str, Attribute] = Field(default_factory=dict)
    relations: list[str] = Field(default_factory=list)


class ExceptionTypeDefinition(Part):
    """A kind of exception the domain knows."""

    description: str = ""
    detectionRules: list[Any] = Field(default_factory=list)


class SeverityRule(Part):
    """The first rule whose condition matches gives the severity."""

    condition: ConditionText
    severity: SeverityName


class Guardrails(Part):
    """What plans may do without a person."""

    allowLists: list[str] = Field(default_factory=list)
    blockLists: list[str] = Field(default_factory=list)
    humanApprovalThreshold: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    """A confidence below it asks for approval."""


class Sla(Part):
    """Until when an exception has to be resolved."""

    minutesToResolve: dict[SeverityName, Minutes] = Field(default_factory=dict)


EXPECTABLE = ("exceptionType", "severity", "confidence", "decision", "playbook", "status", "error")
"""What a test case can expect. `status`: where the exception first rests, null when its plan goes straight on to
the tool stage; `error`: a part of the failure's message."""


class SuiteInput(Part):
    """An exception as a source would send it."""

    exceptionType: str | None = None
    severity: str | None = None
    sourceSystem: str = "test suite"
    entity: str | None = None
    rawPayload: dict[str, Any] = Field(default_factory=dict)


class SuiteCase(Part):
    """What the pack's author expects of one exception."""

    name: str | None = None
    input: SuiteInput
    expectedOutput: dict[str, Any]


class DomainPack(Part):
    """Everything that is particular to one domain."""

    domainName: Name
    entities: dict[str, Entity] = Field(default_factory=dict)
    exceptionTypes: dict[str, ExceptionTypeDefinition] = Field(default_factory=dict)
    severityRules: list[SeverityRule] = Field(default_factory=list)
    tools: dict[Name, AnyTool] = Field(default_factory=dict)
    playbooks: list[Playbook] = Field(default_factory=list)
    guardrails: Guardrails = Guardrails()
    testSuites: list[SuiteCase] = Field(default_factory=list)
    sensitiveFields: list[PayloadPath] = Field(default_factory=list)
    sla: Sla = Sla()


class SeverityOverride(Part):
    """The tenant's own severity of a type, ahead of every rule."""

    exceptionType: str
    severity: SeverityName


class ApprovalRule(Part):
    """Whether a person has to approve what is done about exceptions of a severity."""

    severity: SeverityName
    requireApproval: bool


class RetentionPolicies(Part):
    """How long the tenant's data is kept."""

    dataTTL: int | None = Field(default=None, ge=1, le=36_500)
    """Days."""


class Egress(Part):
    """Where the tenant's tools may be called. The operator's settings stand above it."""

    allowHosts: list[HostPattern] = Field(default_factory=list)
    """`host`, `host:port` or `host:*`; `*.` before a name means every name below it. Nothing else may be called."""
    allowHttp: bool = False
    """Whether plain http may be spoken, where the operator allows that too."""


class TenantPack(Part):
    """What one tenant does differently from its domain."""

    tenantId: Name
    domainName: Name
    customSeverityOverrides: list[SeverityOverride] = Field(default_factory=list)
    customGuardrails: Guardrails | None = None
    approvedTools: list[str] = Field(default_factory=list)
    humanApprovalRules: list[ApprovalRule] = Field(default_factory=list)
    retentionPolicies: RetentionPolicies = RetentionPolicies()
    customPlaybooks: list[Playbook] = Field(default_factory=list)
    rateLimitPerSecond: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    weight: float = Field(default=1.0, gt=0, le=1_000, allow_inf_nan=False)
    """This tenant's share of the dispatcher's attention when all want it."""
    sensitiveFields: list[PayloadPath] = Field(default_factory=list)
    """In addition to the domain's."""
    sla: Sla = Sla()
    egress: Egress | None = None
    """Without it, the endpoints of the packs' own tools are what may be called."""
