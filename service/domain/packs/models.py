"""Domain packs and tenant packs as typed, immutable values. JSON keys are the field names.

What a part means by itself is checked here; what parts say about one another (a playbook naming a tool)
in `checks`; how they act in `compiled`. docs/packs.md is the reference for people who write packs.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from service.domain.detectors import Detector
from service.domain.exceptions import Severity
from service.domain.packs.notifications import NotificationPolicy
from service.domain.packs.parts import (
    Attribute,
    ConditionText,
    Expression,
    HostPattern,
    Label,
    Minutes,
    Name,
    Part,
    PayloadPath,
    SeverityName,
)
from service.domain.packs.playbooks import Playbook
from service.domain.packs.retry_rules import StageRetryRules
from service.domain.packs.tools import AnyTool

DEFAULT_MINUTES_TO_RESOLVE = {
    Severity.CRITICAL: 60.0,
    Severity.HIGH: 240.0,
    Severity.MEDIUM: 1_440.0,
    Severity.LOW: 4_320.0,
}
"""Deadlines where no pack says otherwise: an hour, four hours, a day, three days after the exception was received."""


class Relation(Part):
    """Another entity that a payload refers to, and by which of its own attributes. The entity's name alone will do."""

    entity: str
    by: list[str] = Field(default_factory=list)
    """The attributes that say which one; by default the other entity's key, or those of its required attributes
    that this entity has too."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"entity": value} if isinstance(value, str) else value


class Entity(Part):
    """A thing of the domain that a payload describes."""

    attributes: dict[str, Attribute] = Field(default_factory=dict)
    key: list[str] = Field(default_factory=list)
    """The attributes by which others refer to it."""
    relations: list[Relation] = Field(default_factory=list)


class DetectionRule(Part):
    """Says that an exception is of a type, for sources that do not name one the domain knows."""

    condition: ConditionText
    confidence: float = Field(default=0.8, gt=0, le=1, allow_inf_nan=False)
    """How sure it is. Below humanApprovalThreshold a person is asked."""


class ExceptionTypeDefinition(Part):
    """A kind of exception the domain knows."""

    description: str = ""
    detectionRules: list[DetectionRule] = Field(default_factory=list)
    policyTags: list[Label] = Field(default_factory=list)
    """Tags that every exception of this type has."""


class PolicyTagRule(Part):
    """Tags for every exception that the condition matches."""

    condition: ConditionText
    tags: list[Label] = Field(min_length=1)


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


class SensitivePattern(Part):
    """Fields whose name, or parts of values that, a regular expression (RE2) finds."""

    keys: Expression | None = None
    """Fields with such a name are masked as a whole, wherever they are."""
    values: Expression | None = None
    """What it finds in a value is masked."""

    @model_validator(mode="after")
    def _looks_at_one_thing(self) -> SensitivePattern:
        if (self.keys is None) == (self.values is None):
            raise ValueError("a pattern is either on `keys` (the names of fields) or on `values`")
        return self


DetectorName = Annotated[Detector, Field(strict=False)]

EXPECTABLE = ("exceptionType", "severity", "confidence", "decision", "playbook", "status", "error", "policyTags")
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
    policyTagRules: list[PolicyTagRule] = Field(default_factory=list)
    testSuites: list[SuiteCase] = Field(default_factory=list)
    sensitiveFields: list[PayloadPath] = Field(default_factory=list)
    """Paths into rawPayload whose values nobody sees but tools that are declared to need them."""
    sensitivePatterns: list[SensitivePattern] = Field(default_factory=list)
    detectorsOff: list[DetectorName] = Field(default_factory=list)
    """Detectors that do not look at this domain's payloads."""
    notificationPolicies: list[NotificationPolicy] = Field(default_factory=list)
    sla: Sla = Sla()
    retryPolicies: StageRetryRules = StageRetryRules()
    """How failures are tried again, by stage and kind."""


class SeverityOverride(Part):
    """The tenant's own severity of a type, ahead of every rule."""

    exceptionType: str
    severity: SeverityName


class ApprovalRule(Part):
    """Whether a person has to approve what is done about exceptions of a severity, and how."""

    severity: SeverityName
    requireApproval: bool = True
    approvals: int = Field(default=1, ge=1, le=2)
    """How many different people have to."""
    fourEyes: bool = False
    """Two different people have to: the same as `approvals: 2`."""
    timeLimitMinutes: Minutes | None = None
    """When nobody has decided by then, the exception is escalated."""

    @property
    def approvals_needed(self) -> int:
        """How many different people have to approve."""
        return 2 if self.fourEyes else self.approvals


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
    toolOverrides: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Keys of the domain's tools that are different for this tenant."""
    humanApprovalRules: list[ApprovalRule] = Field(default_factory=list)
    retentionPolicies: RetentionPolicies = RetentionPolicies()
    customPlaybooks: list[Playbook] = Field(default_factory=list)
    rateLimitPerSecond: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    weight: float = Field(default=1.0, gt=0, le=1_000, allow_inf_nan=False)
    """This tenant's share of the dispatcher's attention when all want it."""
    sensitiveFields: list[PayloadPath] = Field(default_factory=list)
    """In addition to the domain's."""
    sensitivePatterns: list[SensitivePattern] = Field(default_factory=list)
    """In addition to the domain's."""
    detectorsOff: list[DetectorName] = Field(default_factory=list)
    """In addition to the domain's."""
    policyTagRules: list[PolicyTagRule] = Field(default_factory=list)
    """In addition to the domain's."""
    notificationPolicies: list[NotificationPolicy] = Field(default_factory=list)
    """In addition to the domain's."""
    sla: Sla = Sla()
    retryPolicies: StageRetryRules = StageRetryRules()
    """In place of the domain's, key by key."""
    egress: Egress | None = None
    """Without it, the endpoints of the packs' own tools are what may be called."""
