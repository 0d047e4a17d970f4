"""The spellings and shapes, other than the documented ones, in which packs come: as data.

`normalisation` applies them. Keys are understood in snake_case, camelCase and kebab-case without being listed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_RULE = {"if": "condition", "when": "condition", "expression": "condition", "expr": "condition", "rule": "condition"}

SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "DomainPack": {
        "domain": "domainName", "name": "domainName", "types": "exceptionTypes", "severities": "severityRules",
        "slarules": "sla", "tests": "testSuites", "testcases": "testSuites", "tagrules": "policyTagRules",
        "notifications": "notificationPolicies",
    },
    "TenantPack": {
        "tenant": "tenantId", "domain": "domainName", "severityoverrides": "customSeverityOverrides",
        "guardrails": "customGuardrails", "playbooks": "customPlaybooks", "approvalrules": "humanApprovalRules",
        "retention": "retentionPolicies", "retentionpolicy": "retentionPolicies", "slarules": "sla",
        "tagrules": "policyTagRules", "notifications": "notificationPolicies", "ratelimit": "rateLimitPerSecond",
    },
    "Attribute": {"datatype": "type", "mandatory": "required"},
    "Entity": {"fields": "attributes", "properties": "attributes", "relationships": "relations"},
    "Relation": {"target": "entity", "to": "entity", "name": "entity", "via": "by", "key": "by", "attribute": "by"},
    "ExceptionTypeDefinition": {"tags": "policyTags", "rules": "detectionRules", "detection": "detectionRules"},
    "DetectionRule": {**_RULE, "score": "confidence"},
    "SeverityRule": {**_RULE, "then": "severity", "level": "severity", "set": "severity"},
    "PolicyTagRule": {**_RULE, "then": "tags", "tag": "tags", "policytags": "tags"},
    "SeverityOverride": {"type": "exceptionType"},
    "Guardrails": {
        "allowlist": "allowLists", "blocklist": "blockLists", "allowedtools": "allowLists",
        "blockedtools": "blockLists", "approvalthreshold": "humanApprovalThreshold",
        "confidencethreshold": "humanApprovalThreshold",
    },
    "ApprovalRule": {
        "requiresapproval": "requireApproval", "approvalrequired": "requireApproval", "required": "requireApproval",
        "approvers": "approvals", "minapprovals": "approvals", "timeoutminutes": "timeLimitMinutes",
    },
    "RetentionPolicies": {"ttldays": "dataTTL", "datattldays": "dataTTL", "days": "dataTTL"},
    "NotificationPolicy": {"events": "on", "event": "on", "severity": "severities", "severityin": "severities"},
    "Playbook": {"title": "name", "id": "name"},
    "StepBase": {"if": "condition", "when": "condition", "order": "step_order", "title": "name"},
    "Match": {"type": "exception_type", "severities": "severity_in", "tags": "policy_tags"},
    "SuiteCase": {
        "expected": "expectedOutput", "expect": "expectedOutput", "output": "expectedOutput", "given": "input",
        "exception": "input", "title": "name",
    },
    "ToolSignature": {
        "url": "endpoint", "timeout": "timeoutSeconds", "retries": "maxRetries", "inputs": "parameters",
        "params": "parameters",
    },
    "SensitivePattern": {"key": "keys", "value": "values", "pattern": "values", "regex": "values"},
}  # fmt: skip
"""Other names of a part's keys, by the part's class; without word breaks and in small letters."""

SURPRISING: Mapping[str, Mapping[str, str]] = {
    "ToolSignature": {"timeout": "seconds", "retries": "repetitions after the first call"},
    "TenantPack": {"ratelimit": "exceptions a second"},
    "RetentionPolicies": {"days": "days"},
    "ApprovalRule": {"timeoutminutes": "the time after which the exception is escalated"},
}
"""Of these, those that leave open what is meant: what they are read as is told."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "Attribute": ("name",),
    "Entity": ("name", "entity"),
    "ExceptionTypeDefinition": ("name", "exceptiontype", "type", "code", "id"),
    "Tool": ("name", "toolname", "tool", "id"),
}
"""Where a list stands for names and values: which key of an item is its name."""

TEXTS: Mapping[str, str] = {
    "StepBase": "action",
    "Attribute": "type",
    "ExceptionTypeDefinition": "description",
    "DetectionRule": "condition",
}
"""Parts that may be written as a text alone: the key that the text is."""

TYPES: Mapping[str, str] = {
    "str": "string", "text": "string", "varchar": "string", "int": "integer", "long": "integer", "float": "number",
    "double": "number", "decimal": "number", "bool": "boolean", "list": "array", "dict": "object", "map": "object",
    "json": "object",
}  # fmt: skip
"""Other names of JSON's types."""

TEXTUAL_TYPES = frozenset({"date", "datetime", "timestamp", "time", "uuid", "email", "uri", "enum"})
"""Types of text that JSON does not know: only that they are texts is checked."""


def plain(key: str) -> str:
    """A key without its word breaks: `timeout_seconds`, `timeoutSeconds` and `timeout-seconds` are one."""
    return re.sub(r"[^a-z0-9]", "", key.lower())
