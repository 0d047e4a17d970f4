"""What a pack's rules say in vain: names that no exception has, types that the domain does not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.domain.conditions import Condition, compile_condition, unknown_names
from service.domain.packs.faults import Fault, path_of


def rule_warnings(document: Mapping[str, Any], types: frozenset[str] | None) -> Iterator[Fault]:
    """Warnings about every rule of a domain or tenant pack whose condition is CEL."""
    for index, rule in enumerate(_list(document.get("severityRules"))):
        yield from _warnings(f"severityRules[{index}]", rule, types)
    for index, rule in enumerate(_list(document.get("policyTagRules"))):
        yield from _warnings(f"policyTagRules[{index}]", rule, types)
    definitions = document.get("exceptionTypes")
    for name, definition in definitions.items() if isinstance(definitions, Mapping) else ():
        rules = _list(definition.get("detectionRules")) if isinstance(definition, Mapping) else []
        for index, rule in enumerate(rules):
            yield from _warnings(path_of(("exceptionTypes", str(name), "detectionRules", index)), rule, None)


def _warnings(path: str, rule: Any, types: frozenset[str] | None) -> Iterator[Fault]:
    here = f"{path}.condition"
    condition = _compiled(rule, here)
    if condition is None:
        return
    for name in unknown_names(condition):
        yield Fault(here, f"there is no {name}; every exception that gets to this rule fails")
    if types is not None:
        for name in sorted((condition.types or frozenset()) - types):
            yield Fault(here, f"the domain has no exception type {name!r}; the rule may never match")


def _compiled(rule: Any, path: str) -> Condition | None:
    source = rule.get("condition") if isinstance(rule, Mapping) else None
    if not isinstance(source, str):
        return None
    try:
        return compile_condition(source, path)
    except ValueError:
        return None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
