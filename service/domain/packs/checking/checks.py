"""What the parts of a pack say about one another: tools, types and steps that have to exist.

These checks read the document, not the finished pack, so that they also tell their faults about a pack that
has faults of form elsewhere. What is wrong in form is passed over: it has been told already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from service.domain.packs.checking.notification_checks import policies_faults, policies_warnings
from service.domain.packs.checking.rule_checks import rule_warnings
from service.domain.packs.checking.step_checks import Tools, steps_faults, steps_warnings
from service.domain.packs.checking.tool_checks import tool_faults
from service.domain.packs.deciding.relations import relation_faults, relation_warnings
from service.domain.packs.deciding.tool_overrides import overridden, unknown_override_keys
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.models import EXPECTABLE, DomainPack, Entity
from service.domain.packs.naming import normal_name
from service.domain.packs.parts import Part
from service.domain.packs.playbooks import Match
from service.domain.packs.tools import KINDS, Tool, ToolSignature, kind_of

Json = Mapping[str, Any]
_P = TypeVar("_P", bound=Part)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts of a pack may refer to; None: not known here (a tenant pack read without its domain)."""

    domain: str | None
    tools: Tools | None
    types: frozenset[str] | None
    sensitive: frozenset[str] = frozenset()
    definitions: Mapping[str, Tool] | None = None
    """The tools in full, of a pack that was read."""

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
        sensitive = frozenset(domain.sensitiveFields)
        return cls(domain.domainName, dict(domain.tools), types or None, sensitive, domain.tools)


NOWHERE = Surroundings(None, None, None)


def domain_faults(document: Json) -> Iterator[Fault]:
    """References that lead nowhere, and names that cannot be told apart, in a domain pack."""
    around = Surroundings.of_document(document)
    entities = _entities(document)
    yield from relation_faults(entities)
    for name, definition in _object(document.get("tools")).items():
        tool = _valid(KINDS[kind_of(definition)], definition)
        if tool is not None:
            yield from tool_faults(path_of(("tools", str(name))), tool)
    yield from _same_names(around)
    yield from policies_faults(_list(document.get("notificationPolicies")))
    yield from _playbook_faults("playbooks", document, around)


def domain_warnings(document: Json) -> Iterator[Fault]:
    """What a domain pack says in vain."""
    around = Surroundings.of_document(document)
    yield from relation_warnings(_entities(document))
    yield from rule_warnings(document, around.types)
    for index, case in enumerate(_list(document.get("testSuites"))):
        for key in _object(_object(case).get("expectedOutput")).keys() - set(EXPECTABLE):
            here = path_of(("testSuites", index, "expectedOutput", str(key)))
            yield Fault(here, "cannot be expected; the case will fail")
    yield from policies_warnings(_list(document.get("notificationPolicies")))
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
    if around.definitions is not None:
        yield from overridden(around.definitions, _object(document.get("toolOverrides"))).faults
    yield from policies_faults(_list(document.get("notificationPolicies")))
    yield from _playbook_faults("customPlaybooks", document, around)


def tenant_warnings(document: Json, around: Surroundings) -> Iterator[Fault]:
    """What a tenant pack says in vain."""
    yield from policies_warnings(_list(document.get("notificationPolicies")))
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
    for index, rule in enumerate(_list(document.get("humanApprovalRules"))):
        said = _object(rule).keys() & {"approvals", "fourEyes", "timeLimitMinutes"}
        if said and _object(rule).get("requireApproval") is False:
            yield Fault(f"humanApprovalRules[{index}]", f"nobody is asked, so {', '.join(sorted(said))} has no effect")
    if around.definitions is not None:
        yield from unknown_override_keys(around.definitions, _object(document.get("toolOverrides")))
    yield from rule_warnings(document, around.types)
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
        yield from steps_faults(f"{path}.steps", _list(_object(playbook).get("steps")), around.tools)


def _target_faults(path: str, playbook: Json, around: Surroundings) -> Iterator[Fault]:
    match = _object(_object(playbook.get("conditions")).get("match"))
    for here, name in (
        ("exceptionType", playbook.get("exceptionType")),
        ("conditions.match.exception_type", match.get("exception_type")),
    ):
        if isinstance(name, str) and around.types is not None and not _is_pattern(name) and not _known(name, around):
            yield Fault(f"{path}.{here}", f"the domain has no exception type {name!r}")


def _playbook_warnings(key: str, document: Json, around: Surroundings) -> Iterator[Fault]:
    for index, playbook in enumerate(_list(document.get(key))):
        path = f"{key}[{index}]"
        match = _valid(Match, _object(_object(playbook).get("conditions")).get("match", {}))
        if match is not None and match.domain is not None and around.domain not in (None, match.domain):
            yield Fault(f"{path}.conditions.match.domain", f"never matches: the domain is {around.domain!r}")
        steps = _list(_object(playbook).get("steps"))
        yield from steps_warnings(f"{path}.steps", steps, around.tools, around.sensitive)


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


def _entities(document: Json) -> dict[str, Entity]:
    """The entities that are right in form, and those parts of the others that are."""
    read = {str(name): _valid(Entity, entity) for name, entity in _object(document.get("entities")).items()}
    return {name: entity or Entity() for name, entity in read.items()}


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
