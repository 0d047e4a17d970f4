"""Detection: the type of an exception whose source named none, or one that the domain does not know.

The rule with the highest confidence that matches decides; of equals the type that comes first by name, then
the type's earlier rule. (A stored pack does not keep the order of its names.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from service.domain.conditions import Condition, Situation, compile_condition
from service.domain.packs.faults import path_of
from service.domain.packs.models import DomainPack
from service.domain.selection import Selection


@dataclass(frozen=True, slots=True)
class Detected:
    """What the rules say: a type and the confidence in it, or neither."""

    type_name: str | None
    confidence: float = 0.0
    by: str | None = None
    """The rule, as events name it: `exceptionTypes.LATE.detectionRules[0]`."""
    absent: tuple[str, ...] = ()
    """Rules asked before it that did not match because a field is absent."""


@dataclass(frozen=True, slots=True)
class _Rule:
    condition: Condition
    type_name: str
    confidence: float
    by: str


NOTHING = Detected(None)


@dataclass(frozen=True, slots=True)
class DetectionRules:
    """A domain's detection rules, compiled, in the order in which they are asked."""

    _rules: tuple[_Rule, ...]
    selection: Selection

    @classmethod
    def of(cls, domain: DomainPack) -> DetectionRules:
        """Compile them."""
        rules = tuple(sorted(_compiled(domain), key=lambda rule: -rule.confidence))
        return cls(rules, Selection.of([rule.condition for rule in rules], any_type=True))

    def detect(self, situation: Situation) -> Detected:
        """Find the type. `exceptionType` is what the source named. Raises ConditionFailedError."""
        if not self._rules:
            return NOTHING
        selected = self.selection.first_match(situation)
        absent = tuple(self._rules[position].by for position in selected.absent)
        if selected.position is None:
            return Detected(None, absent=absent)
        rule = self._rules[selected.position]
        return Detected(rule.type_name, rule.confidence, rule.by, absent)


def _compiled(domain: DomainPack) -> Iterator[_Rule]:
    for name in sorted(domain.exceptionTypes):
        for index, rule in enumerate(domain.exceptionTypes[name].detectionRules):
            by = path_of(("exceptionTypes", name, "detectionRules", index))
            yield _Rule(compile_condition(rule.condition, f"{by}.condition"), name, rule.confidence, by)
