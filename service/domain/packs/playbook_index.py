"""Playbooks, compiled and in the order in which they are considered.

The tenant's come before the domain's; within each the highest priority first, then the pack's order.
The first one that matches the exception's type and severity is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.domain import templates
from service.domain.conditions import Condition, compile_condition, keys_read
from service.domain.exceptions import Severity
from service.domain.packs.guardrails import EffectiveGuardrails
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.naming import normal_name
from service.domain.packs.playbooks import ActionType, Playbook, Step, order_of
from service.domain.packs.tools import Tool
from service.domain.plans import StepKind
from service.domain.redaction import Redactor

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """The tool a step calls."""

    name: str
    tool: Tool
    refusal: str | None
    """Why the guardrails forbid it; None: they do not."""


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """A step with its templates parsed and its condition compiled."""

    path: str
    order: int
    name: str
    kind: StepKind
    action: str
    """An `ActionType`'s value, or a manual step's prose."""
    parameters: templates.Template
    condition: Condition | None
    call: CompiledCall | None
    redactor: Redactor
    """Masks what this step may not read."""
    ends_plan: bool
    """It sets the final status: nothing after it is planned."""


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
    """What its steps' conditions read of the payload."""

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
        compiler = _Compiler(domain, guardrails, redactor, types)
        playbooks = (
            *compiler.compiled(tenant.customPlaybooks, "customPlaybooks"),
            *compiler.compiled(domain.playbooks, "playbooks"),
        )
        by_type = {name: tuple(p for p in playbooks if p.is_for_type(name)) for name in set(types.values())}
        return cls(playbooks, by_type)

    def choose(self, type_name: str, severity: Severity) -> CompiledPlaybook | None:
        """The playbook for an exception; None: there is none."""
        candidates = self._by_type.get(type_name)
        if candidates is None:
            candidates = tuple(playbook for playbook in self._all if playbook.is_for_type(type_name))
        return next((playbook for playbook in candidates if severity in playbook.severities), None)


@dataclass(frozen=True, slots=True)
class _Compiler:
    domain: DomainPack
    guardrails: EffectiveGuardrails
    redactor: Redactor
    types: Mapping[str, str]

    def compiled(self, playbooks: Sequence[Playbook], key: str) -> Iterator[CompiledPlaybook]:
        """One pack's playbooks in order of consideration, without those for another domain."""
        by_priority = sorted(enumerate(playbooks), key=lambda item: -item[1].priority)
        for index, playbook in by_priority:
            match = playbook.match()
            if match.domain is not None and match.domain != self.domain.domainName:
                continue
            path = f"{key}[{index}]"
            steps = tuple(self._steps(playbook.steps, path))
            yield CompiledPlaybook(
                name=playbook.name or match.exception_type or path,
                path=path,
                pattern=self._pattern(match.exception_type),
                severities=_severities(match.severity, match.severity_in),
                steps=steps,
                reads=keys_read(step.condition for step in steps if step.condition is not None),
            )

    def _pattern(self, name: str | None) -> re.Pattern[str] | None:
        if name is None:
            return None
        if not set("*?") & set(name):
            name = self.types.get(normal_name(name), name)
        return re.compile(re.escape(re.sub(r"\*+", "*", name)).replace(r"\*", ".*").replace(r"\?", "."))

    def _steps(self, steps: Iterable[Step], path: str) -> Iterator[CompiledStep]:
        ordered = sorted(enumerate(steps), key=lambda item: order_of(item[1], item[0]))
        for index, step in ordered:
            yield self._step(step, order_of(step, index), f"{path}.steps[{index}]")

    def _step(self, step: Step, order: int, path: str) -> CompiledStep:
        call = self._call(step)
        return CompiledStep(
            path=path,
            order=order,
            name=step.name or (step.action or str(step.action_type))[:_LONGEST_NAME],
            kind=step.kind,
            action=_action(step),
            parameters=_parameters(step),
            condition=None if step.condition is None else compile_condition(step.condition, f"{path}.condition"),
            call=call,
            redactor=self.redactor if call is None else self.redactor.without(call.tool.sensitiveFields),
            ends_plan=step.action_type is ActionType.SET_STATUS,
        )

    def _call(self, step: Step) -> CompiledCall | None:
        if step.action_type is not ActionType.CALL_TOOL:
            return None
        name = step.params["tool"]
        return CompiledCall(name, self.domain.tools[name], self.guardrails.refusal_of(name))


def _severities(one: Severity | None, several: Sequence[Severity] | None) -> frozenset[Severity]:
    severities = frozenset(Severity)
    if one is not None:
        severities &= {one}
    if several is not None:
        severities &= frozenset(several)
    return severities


def _action(step: Step) -> str:
    if step.action is not None:
        return step.action
    if step.action_type is ActionType.MANUAL:
        return str(step.params.get("instructions") or step.name or "manual")
    return str(step.action_type)


def _parameters(step: Step) -> templates.Template:
    """What is resolved for an exception. Prose is for people: its parameters are handed on as they stand."""
    if step.action_type is None:
        return templates.Constant(step.parameters)
    return templates.parse(
        step.params.get("parameters", {}) if step.action_type is ActionType.CALL_TOOL else step.params
    )
