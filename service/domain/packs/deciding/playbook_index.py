"""Playbooks, compiled and in the order in which they are considered.

The tenant's come before the domain's; within each the highest priority first, then the pack's order.
The first one that matches the exception's type and severity is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.domain.conditions import Situation, keys_read
from service.domain.exceptions import Severity
from service.domain.packs.deciding.compiled_steps import CompiledStep, StepCompiler, conditions_of, keys_shown
from service.domain.packs.deciding.guardrails import EffectiveGuardrails
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.naming import normal_name
from service.domain.packs.playbooks import Playbook
from service.domain.redaction import Redactor


@dataclass(frozen=True, slots=True)
class CompiledPlaybook:
    """A playbook and what it is for."""

    name: str
    path: str
    pattern: re.Pattern[str] | None
    """Types it is for; None: any."""
    severities: frozenset[Severity]
    steps: tuple[CompiledStep, ...]
    reads: frozenset[str] | None
    """What its steps' conditions read of the payload when a plan is made."""
    asks: bool
    """Some condition is asked when a plan is made."""
    shows: frozenset[str] | None
    """The payload's keys that its templates name; None: they may show all of it."""
    sla_below: float | None = None
    """Minutes: fewer than these are left until the deadline."""
    tags: frozenset[str] = frozenset()
    """Policy tags that the exception has to have."""

    def applies(self, severity: Severity, situation: Callable[[], Situation]) -> bool:
        """Whether an exception of its type is its business."""
        if severity not in self.severities:
            return False
        if self.sla_below is not None and not situation().sla_minutes_remaining < self.sla_below:
            return False
        return not self.tags or self.tags.issubset(situation().policy_tags)

    def is_for_type(self, name: str) -> bool:
        """Whether exceptions of a type are its business."""
        return self.pattern is None or self.pattern.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class PlaybookIndex:
    """All playbooks of a tenant, found by type."""

    _all: tuple[CompiledPlaybook, ...]
    _by_type: Mapping[str, tuple[CompiledPlaybook, ...]]

    @classmethod
    def of(
        cls,
        domain: DomainPack,
        tenant: TenantPack,
        guardrails: EffectiveGuardrails,
        redactor: Redactor,
        types: Mapping[str, str],
    ) -> PlaybookIndex:
        """Compile the playbooks of both packs."""
        compiler = _Compiler(domain, StepCompiler(domain.tools, guardrails, redactor), types)
        playbooks = (
            *compiler.compiled(tenant.customPlaybooks, "customPlaybooks"),
            *compiler.compiled(domain.playbooks, "playbooks"),
        )
        by_type = {name: tuple(p for p in playbooks if p.is_for_type(name)) for name in set(types.values())}
        return cls(playbooks, by_type)

    def choose(self, type_name: str, severity: Severity, situation: Callable[[], Situation]) -> CompiledPlaybook | None:
        """The playbook for an exception; None: there is none. Raises ConditionFailedError, of a rule for tags."""
        candidates = self._by_type.get(type_name)
        if candidates is None:
            candidates = tuple(playbook for playbook in self._all if playbook.is_for_type(type_name))
        return next((playbook for playbook in candidates if playbook.applies(severity, situation)), None)


@dataclass(frozen=True, slots=True)
class _Compiler:
    domain: DomainPack
    steps: StepCompiler
    types: Mapping[str, str]

    def compiled(self, playbooks: Sequence[Playbook], key: str) -> Iterator[CompiledPlaybook]:
        """One pack's playbooks in order of consideration, without those for another domain."""
        by_priority = sorted(enumerate(playbooks), key=lambda item: -item[1].priority)
        for index, playbook in by_priority:
            match = playbook.match()
            if match.domain is not None and match.domain != self.domain.domainName:
                continue
            path = f"{key}[{index}]"
            steps = self.steps.all(playbook.steps, f"{path}.steps")
            yield CompiledPlaybook(
                name=playbook.name or match.exception_type or path,
                path=path,
                pattern=self._pattern(match.exception_type),
                severities=_severities(match.severity, match.severity_in),
                steps=steps,
                reads=keys_read(conditions_of(steps)),
                asks=any(True for _ in conditions_of(steps)),
                shows=keys_shown(steps),
                sla_below=match.sla_minutes_remaining_lt,
                tags=frozenset(match.policy_tags or ()),
            )

    def _pattern(self, name: str | None) -> re.Pattern[str] | None:
        if name is None:
            return None
        if not set("*?") & set(name):
            name = self.types.get(normal_name(name), name)
        return re.compile(re.escape(re.sub(r"\*+", "*", name)).replace(r"\*", ".*").replace(r"\?", "."))


def _severities(one: Severity | None, several: Sequence[Severity] | None) -> frozenset[Severity]:
    severities = frozenset(Severity)
    if one is not None:
        severities &= {one}
    if several is not None:
        severities &= frozenset(several)
    return severities
