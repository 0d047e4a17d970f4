"""What the parts of a pack say about one another: tools, types and steps that have to exist.

These checks read the document, not the finished pack, so that they also tell their faults about a pack that
has faults of form elsewhere. What is wrong in form is passed over: it has been told already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from service.domain.conditions import compile_condition, unknown_names
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.models import EXPECTABLE, DomainPack, SeverityRule
from service.domain.packs.naming import normal_name
from service.domain.packs.parts import Part
from service.domain.packs.playbooks import ActionType, Match, Step, order_of
from service.domain.packs.step_checks import Tools, step_faults, step_warnings
from service.domain.packs.tool_checks import tool_faults
from service.domain.packs.tools import KINDS, ToolSignature, kind_of

Json = Mapping[str, Any]
_P = TypeVar("_P", bound=Part)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts of a pack may refer to; None: not known here (a tenant pack read without its domain)."""

    domain: str | None
    tools: Tools | None
    types: frozenset[str] | None
    sensitive: frozenset[str] = frozenset()

    @classmethod
    def of_document(cls, document: Json) -> Surroundings:
        """From a domain pack's document, whatever is wrong with it elsewhere."""
        tools = {str(name): _valid(ToolSignature, tool) for name, tool in _object(document.get("tools")).items()}
        types = frozenset(str(name) for name in _object(document.get("exceptionTypes")))
        sensitive = frozenset(path for path in _list(document.get("sensitiveFields")) if isinstance(path, str))
        return cls(document.get("domainName"), tools, types or None, sensitive)

    @classmethod
    def of_pack(cls, domain: DomainPack) -> Surroundings:
        """From a domain pack that was read."""
        types = frozenset(domain.exceptionTypes)
        return cls(domain.domainName, dict(domain.tools), types or None, frozenset(domain.sensitiveFields))


NOWHERE = Surroundings(None, None, None)


def domain_faults(document: Json) -> Iterator[Fault]:
    """References that lead nowhere, and names that cannot be told apart, in a domain pack."""
    around = Surroundings.of_document(document)
    entities = _object(document.get("entities"))
    for name, entity in entities.items():
        for index, relation in enumerate(_list(_object(entity).get("relations"))):
            if isinstance(relation, str) and relation not in entities:
                yield Fault(path_of(("entities", str(name), "relations", index)), f"there is no entity {relation!r}")
    for name, definition in _object(document.get("tools")).items():
        tool = _valid(KINDS[kind_of(definition)], definition)
        if tool is not None:
            yield from tool_faults(path_of(("tools", str(name))), tool)
    yield from _same_names(around)
    yield from _playbook_faults("playbooks", document, around)


def domain_warnings(document: Json) -> Iterator[Fault]:
    """What a domain pack says in vain."""
    around = Surroundings.of_document(document)
    for index, rule in _valid_items(SeverityRule, document.get("severityRules")):
        path = f"severityRules[{index}].condition"
        condition = compile_condition(rule.condition, path)
        for name in unknown_names(condition):
            yield Fault(path, f"there is no {name}; every exception that gets to this rule fails")
        yield from _unknown_types(path, condition.types or frozenset(), around)
    for name, definition in _object(document.get("exceptionTypes")).items():
        if _object(definition).get("detectionRules"):
            yield Fault(path_of(("exceptionTypes", str(name), "detectionRules")), "detection rules have no effect yet")
    for index, case in enumerate(_list(document.get("testSuites"))):
        for key in _object(_object(case).get("expectedOutput")).keys() - set(EXPECTABLE):
            here = path_of(("testSuites", index, "expectedOutput", str(key)))
            yield Fault(here, "cannot be expected; the case will fail")
    yield from _guardrail_warnings("guardrails", document.get("guardrails"), around)
    yield from _playbook_warnings("playbooks", document, around)


def tenant_faults(document: Json, around: Surroundings) -> Iterator[Fault]:
    """References of a tenant pack that lead nowhere in its domain."""
    name = document.get("domainName")
    if around.domain is not None and isinstance(name, str) and name != around.domain:
        yield Fault("domainName", f"the tenant's domain is {name!r}, the domain pack is {around.domain!r}")
    for index, override in enumerate(_list(document.get("customSeverityOverrides"))):
        type_name = _object(override).get("exceptionType")
        if isinstance(type_name, str) and around.types is not None and not _known(type_name, around):
            yield Fault(
                f"customSeverityOverrides[{index}].exceptionType", f"the domain has no exception type {type_name!r}"
            )
    yield from _playbook_faults("customPlaybooks", document, around)


def tenant_warnings(document: Json, around: Surroundings) -> Iterator[Fault]:
    """What a tenant pack says in vain."""
    for index, tool in enumerate(_list(document.get("approvedTools"))):
        if around.tools is not None and tool not in around.tools:
            yield Fault(f"approvedTools[{index}]", f"the domain has no tool {tool!r}")
    for key, name in (("customSeverityOverrides", "exceptionType"), ("humanApprovalRules", "severity")):
        seen: set[Any] = set()
        for index, item in enumerate(_list(document.get(key))):
            value = _object(item).get(name)
            if isinstance(value, str) and value in seen:
                yield Fault(f"{key}[{index}]", f"{value} is named twice; the first one counts")
            seen.add(value if isinstance(value, str) else None)
    yield from _guardrail_warnings("customGuardrails", document.get("customGuardrails"), around)
    yield from _playbook_warnings("customPlaybooks", document, around)


def unknown_keys(part: Part, path: str = "") -> Iterator[Fault]:
    """Keys of the document that mean nothing to this version, at any depth."""
    for key in part.unknown_keys:
        yield Fault(path_of((str(key),), path), "this key is not known and has no effect")
    for key in type(part).model_fields:
        yield from _unknown_below(getattr(part, key), path_of((key,), path))


def _unknown_below(value: Any, path: str) -> Iterator[Fault]:
    if isinstance(value, Part):
        yield from unknown_keys(value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown_below(item, path_of((str(key),), path))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_below(item, f"{path}[{index}]")


def _playbook_faults(key: str, document: Json, around: Surroundings) -> Iterator[Fault]:
    for index, playbook in enumerate(_list(document.get(key))):
        path = f"{key}[{index}]"
        yield from _target_faults(path, _object(playbook), around)
        written = _list(_object(playbook).get("steps"))
        steps = _valid_items(Step, written)
        orders: dict[int, int] = {}
        for position, step in steps:
            here = f"{path}.steps[{position}]"
            order = order_of(step, position)
            if order in orders:
                yield Fault(f"{here}.step_order", f"step {order} is there already: steps[{orders[order]}]")
            orders.setdefault(order, position)
            yield from step_faults(here, step, around.tools)
        conditional = {position for position, step in enumerate(written) if _object(step).get("condition") is not None}
        yield from _dead_steps(path, steps, conditional)


def _target_faults(path: str, playbook: Json, around: Surroundings) -> Iterator[Fault]:
    match = _object(_object(playbook.get("conditions")).get("match"))
    for here, name in (
        ("exceptionType", playbook.get("exceptionType")),
        ("conditions.match.exception_type", match.get("exception_type")),
    ):
        if isinstance(name, str) and around.types is not None and not _is_pattern(name) and not _known(name, around):
            yield Fault(f"{path}.{here}", f"the domain has no exception type {name!r}")


def _dead_steps(path: str, steps: Sequence[tuple[int, Step]], conditional: set[int]) -> Iterator[Fault]:
    """An unconditional end with steps after it: they could never be reached."""
    ordered = sorted(steps, key=lambda item: order_of(item[1], item[0]))
    for position, step in ordered[:-1]:
        if step.action_type is ActionType.SET_STATUS and position not in conditional:
            yield Fault(
                f"{path}.steps[{position}]", "set_status ends the plan; without a condition it has to be the last step"
            )


def _playbook_warnings(key: str, document: Json, around: Surroundings) -> Iterator[Fault]:
    for index, playbook in enumerate(_list(document.get(key))):
        path = f"{key}[{index}]"
        match = _valid(Match, _object(_object(playbook).get("conditions")).get("match", {}))
        if match is not None and match.domain is not None and around.domain not in (None, match.domain):
            yield Fault(f"{path}.conditions.match.domain", f"never matches: the domain is {around.domain!r}")
        for position, step in _valid_items(Step, _object(playbook).get("steps")):
            here = f"{path}.steps[{position}]"
            if step.condition is not None:
                for name in unknown_names(compile_condition(step.condition, here)):
                    yield Fault(
                        f"{here}.condition", f"there is no {name}; every exception that gets to this step fails"
                    )
            yield from step_warnings(here, step, around.tools, around.sensitive)


def _guardrail_warnings(path: str, guardrails: Any, around: Surroundings) -> Iterator[Fault]:
    for key in ("allowLists", "blockLists"):
        for index, tool in enumerate(_list(_object(guardrails).get(key))):
            if around.tools is not None and tool not in around.tools:
                yield Fault(f"{path}.{key}[{index}]", f"the domain has no tool {tool!r}")


def _same_names(around: Surroundings) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for name in sorted(around.types or ()):
        first = seen.setdefault(normal_name(name), name)
        if first != name:
            yield Fault(
                path_of(("exceptionTypes", name)),
                f"cannot be told apart from {first!r}: case and spelling of word breaks do not count",
            )


def _unknown_types(path: str, types: frozenset[str], around: Surroundings) -> Iterator[Fault]:
    if around.types is not None:
        for name in sorted(types - around.types):
            yield Fault(path, f"the domain has no exception type {name!r}; the rule may never match")


def _known(name: str, around: Surroundings) -> bool:
    return around.types is None or normal_name(name) in {normal_name(known) for known in around.types}


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _valid(model: type[_P], value: Any) -> _P | None:
    """The part, without those of its keys that are wrong in form; None where that leaves no part."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors(include_url=False) if fault["loc"]}
    if not isinstance(value, Mapping) or not wrong & value.keys():
        return None
    return _valid(model, {key: item for key, item in value.items() if key not in wrong})


def _valid_items(model: type[_P], values: Any) -> list[tuple[int, _P]]:
    parts = ((index, _valid(model, value)) for index, value in enumerate(_list(values)))
    return [(index, part) for index, part in parts if part is not None]


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
