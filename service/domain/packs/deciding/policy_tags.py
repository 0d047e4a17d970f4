"""Policy tags: labels that the packs give an exception, by its type and by rules, for conditions and playbooks.

They are found again from the exception wherever they are asked for, so they are stored nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from service.domain.conditions import Condition, Situation, Verdict, compile_condition, keys_read
from service.domain.exceptions import ExceptionRecord
from service.domain.packs.models import DomainPack, PolicyTagRule, TenantPack


@dataclass(frozen=True, slots=True)
class Tagged:
    """An exception's tags, and the rules that did not match because a field is absent."""

    tags: tuple[str, ...]
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rule:
    condition: Condition
    tags: tuple[str, ...]
    by: str


NO_TAGS = Tagged(())


@dataclass(frozen=True, slots=True)
class PolicyTags:
    """The tag rules of a domain and its tenant, compiled."""

    _by_type: Mapping[str, tuple[str, ...]]
    _rules: tuple[_Rule, ...]
    _reads: frozenset[str] | None

    @classmethod
    def of(cls, domain: DomainPack, tenant: TenantPack) -> PolicyTags:
        """The domain's rules, then the tenant's."""
        by_type = {
            name: tuple(definition.policyTags)
            for name, definition in domain.exceptionTypes.items()
            if definition.policyTags
        }
        rules = (*_compiled(domain.policyTagRules, ""), *_compiled(tenant.policyTagRules, "tenant."))
        return cls(by_type, rules, keys_read(rule.condition for rule in rules))

    def tagged(self, record: ExceptionRecord, now: datetime, type_name: str, deadline: datetime) -> Tagged:
        """The type's tags, then those of every rule that matches, each once. Raises ConditionFailedError.

        In tag rules `severity` is what the source reported and `policyTags` are the type's own.
        """
        own = self._by_type.get(type_name, ())
        if not self._rules:
            return Tagged(own) if own else NO_TAGS
        hint = record.reported_severity and record.reported_severity.strip().upper()
        situation = Situation(record, now, type_name, hint, deadline, self._reads, own)
        tags = dict.fromkeys(own)
        absent: list[str] = []
        for rule in self._rules:
            verdict = rule.condition.judge(situation)
            if verdict is Verdict.MATCHES:
                tags.update(dict.fromkeys(rule.tags))
            elif verdict is Verdict.ABSENT:
                absent.append(rule.by)
        return Tagged(tuple(tags), tuple(absent))


def _compiled(rules: Iterable[PolicyTagRule], whose: str) -> Iterable[_Rule]:
    for index, rule in enumerate(rules):
        by = f"{whose}policyTagRules[{index}]"
        yield _Rule(compile_condition(rule.condition, f"{by}.condition"), tuple(rule.tags), by)
