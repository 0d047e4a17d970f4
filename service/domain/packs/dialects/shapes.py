"""Shapes of parts, other than the documented ones: what a dialect says with more or fewer levels.

Each function here takes an object under its documented keys and gives it the documented shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.exceptions import Severity
from service.domain.packs.dialects.simple_conditions import SimpleConditionError, to_cel
from service.domain.packs.dialects.spellings import TEXTUAL_TYPES, TYPES, plain
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.models import EXPECTABLE
from service.domain.packs.notifications import NotificationPolicy
from service.domain.packs.playbooks import Match
from service.domain.packs.steps import ActionType

Members = dict[str, Any]
Origins = dict[str, str]
"""Where the author wrote each key, and under "" the object itself."""

_SEVERITIES = {plain(severity.value): severity.value for severity in Severity}
_MINUTES = ("minutes", "minutestoresolve", "resolvewithinminutes", "resolutionminutes")
_MATCHING = {plain(name) for name in Match.model_fields}
_EXPECTED = {plain(name): name for name in EXPECTABLE}


class Shaping:
    """What is told on the way, and where everything stood."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self.origins: dict[str, str] = {}

    def warn(self, path: str, message: str) -> None:
        """Tell that something was rewritten."""
        self.warnings.append(Fault(path, message))


@dataclass(frozen=True, slots=True)
class Written:
    """Where an object stands: here, and in the author's document."""

    told: Shaping
    path: str
    origins: Origins


def condition_of(shaping: Shaping, value: Any, origin: str) -> Any:
    """A condition as CEL: true and false, and objects that stand for comparisons, are written out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, Mapping):
        return value
    try:
        return to_cel(value)
    except SimpleConditionError as error:
        shaping.faults.append(Fault(origin, f"is not a condition: {error}"))
        return "false"


def _rule(members: Members, at: Written) -> Members:
    """`field`, `operator` and `value` beside the outcome; an outcome inside an object."""
    inline = {key: members[key] for key in ("field", "operator", "op", "value") if key in members}
    if "condition" not in members and "field" in inline:
        members = {key: item for key, item in members.items() if key not in inline}
        members = {"condition": inline, **members}
        at.origins["condition"] = at.origins["field"]
    for outcome, named in (("severity", "severity"), ("tags", "tags")):
        given = members.get(outcome)
        if isinstance(given, Mapping) and set(map(plain, given)) == {named}:
            [members[outcome]] = given.values()
    return members


def _tenant(members: Members, at: Written) -> Members:
    _list_of_minutes(members, at)
    return _paths(members, at)


def _list_of_minutes(members: Members, at: Written) -> None:
    """`sla` as a list of `{severity, minutes}`."""
    given = members.get("sla")
    if not isinstance(given, list):
        return
    rules = [{plain(str(key)): item for key, item in rule.items()} for rule in given if isinstance(rule, Mapping)]
    minutes = [next((rule[name] for name in _MINUTES if name in rule), None) for rule in rules]
    severities = [_SEVERITIES.get(plain(str(rule.get("severity")))) for rule in rules]
    if len(rules) < len(given) or None in minutes or None in severities or len(set(severities)) < len(given):
        return
    if any(len(rule) != len({"severity", "minutes"}) for rule in rules):
        return
    members["sla"] = {"minutesToResolve": dict(zip(severities, minutes, strict=True))}
    for index, severity in enumerate(severities):
        at.told.origins[f"sla.minutesToResolve.{severity}"] = f"{at.origins['sla']}[{index}]"


def _domain(members: Members, at: Written) -> Members:
    _list_of_minutes(members, at)
    if "testSuites" in members:
        members["testSuites"] = _cases(
            at.told, members["testSuites"], at.path, at.origins.get("testSuites", "testSuites")
        )
    return _paths(members, at)


def _paths(members: Members, at: Written) -> Members:
    """Sensitive fields as `{path: …}`, with `$.` or `rawPayload.` before them, or with `[*]` for lists."""
    given = members.get("sensitiveFields")
    if isinstance(given, list):
        origin = at.origins.get("sensitiveFields", "sensitiveFields")
        members["sensitiveFields"] = [
            _payload_path(at.told, item, f"{origin}[{index}]") for index, item in enumerate(given)
        ]
    return members


def _payload_path(shaping: Shaping, item: Any, origin: str) -> Any:
    if isinstance(item, Mapping) and len(item) == 1 and plain(next(iter(item))) in ("path", "field", "name"):
        item = next(iter(item.values()))
    if not isinstance(item, str):
        return item
    shorter = re.sub(r"\[\*?\]", "", item)
    shorter = re.sub(r"^(?:\$\.)?(?:raw_?payload\.)?", "", shorter, flags=re.IGNORECASE)
    if shorter != re.sub(r"\[\*?\]", "", item):
        shaping.warn(origin, f"is read as {shorter!r}: paths begin inside rawPayload")
    return shorter


def _cases(shaping: Shaping, suites: Any, path: str, origin: str) -> Any:
    """Suites of several cases, as one list of cases that say which suite they are of."""
    if isinstance(suites, Mapping):
        places = [(name, cases, path_of((str(name),), origin)) for name, cases in suites.items()]
    elif isinstance(suites, list):
        places = [(None, suite, f"{origin}[{index}]") for index, suite in enumerate(suites)]
    else:
        return suites
    flat: list[Any] = []
    for name, suite, place in places:
        for case, where in _cases_of(shaping, name, suite, place):
            shaping.origins[f"{path_of(('testSuites',), path)}[{len(flat)}]"] = where
            flat.append(case)
    return flat


def _cases_of(shaping: Shaping, name: Any, suite: Any, place: str) -> Iterator[tuple[Any, str]]:
    """The cases of one suite with their places; a suite that is a case itself is the only one."""
    cases = suite
    if isinstance(suite, Mapping):
        key = next((key for key in suite if plain(str(key)) in ("cases", "tests", "testcases")), None)
        if key is None or not isinstance(suite[key], list):
            yield suite if name is None else {"name": name, **suite}, place
            return
        name = suite.get("name", suite.get("suite", name))
        for other in sorted(suite.keys() - {key, "name", "suite"}):
            shaping.warn(path_of((str(other),), place), "this key of a suite has no effect")
        cases, place = suite[key], path_of((str(key),), place)
    elif name is None or not isinstance(suite, list):
        yield suite, place
        return
    for index, case in enumerate(cases):
        named = isinstance(case, Mapping) and name
        yield {**case, "name": f"{name} / {case.get('name', index + 1)}"} if named else case, f"{place}[{index}]"


def _attribute(members: Members, at: Written) -> Members:
    given = members.get("type")
    if isinstance(given, str):
        name = given.strip().lower()
        if name in TEXTUAL_TYPES:
            origin = at.origins.get("type", at.origins[""])
            at.told.warn(origin, f"JSON has no type {given!r}: only that it is a text is checked")
        members["type"] = "string" if name in TEXTUAL_TYPES else TYPES.get(name, name)
    return members


def _tool(members: Members, at: Written) -> Members:
    """Parameters as a JSON Schema."""
    members = dict(members)
    if isinstance(members.get("method"), str):
        members["method"] = members["method"].upper()
    parameters = members.get("parameters")
    if isinstance(parameters, Mapping) and parameters.get("type") == "object" and "properties" in parameters:
        origin = at.origins.get("parameters", at.origins[""])
        members["parameters"] = _properties(at.told, parameters, origin)
        at.origins["parameters"] = f"{origin}.properties"
    return _paths(members, at)


def _properties(shaping: Shaping, schema: Mapping[str, Any], origin: str) -> Any:
    properties, required = schema["properties"], schema.get("required", [])
    for key in sorted(schema.keys() - {"type", "properties", "required"}):
        shaping.warn(path_of((str(key),), origin), "this key of a JSON Schema has no effect here")
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        return properties
    return {
        name: {**item, "required": name in required} if isinstance(item, Mapping) else item
        for name, item in properties.items()
    }


def _sla(members: Members, at: Written) -> Members:
    """Severities with their minutes, without `minutesToResolve` around them."""
    named = {key: minutes for key, minutes in members.items() if plain(str(key)) in _SEVERITIES}
    if named and "minutesToResolve" not in members:
        members = {key: item for key, item in members.items() if key not in named}
        members["minutesToResolve"] = named
        at.origins["minutesToResolve"] = at.origins[""]
    return members


def _notification(members: Members, at: Written) -> Members:
    """What the channel needs, beside the policy's own keys."""
    loose = {key: item for key, item in members.items() if key not in NotificationPolicy.model_fields}
    params = members.get("params", {})
    if not loose or not isinstance(params, Mapping) or loose.keys() & params.keys():
        return members
    kept = {key: item for key, item in members.items() if key not in loose}
    at.origins.setdefault("params", at.origins[""])
    return {**kept, "params": {**params, **loose}}


def _playbook(members: Members, at: Written) -> Members:
    """`match` without `conditions` around it, and `conditions` without `match` in it."""
    if "match" in members and "conditions" not in members:
        members = {**members, "conditions": {"match": members["match"]}}
        del members["match"]
        at.origins["conditions"] = at.origins[""]
    given = members.get("conditions")
    if isinstance(given, Mapping) and "match" not in given and {plain(str(key)) for key in given} & _MATCHING:
        members["conditions"] = {"match": given}
        at.told.origins[f"{at.path}.conditions.match"] = at.origins["conditions"]
    return members


def _match(members: Members, at: Written) -> Members:
    """A list of severities under `severity`."""
    if isinstance(members.get("severity"), list) and "severity_in" not in members:
        members["severity_in"] = members.pop("severity")
        at.origins["severity_in"] = at.origins.get("severity", at.origins[""])
    return members


def _step(members: Members, at: Written) -> Members:
    """An executable step that names what it does under `action`."""
    action = members.get("action")
    if "action_type" not in members and "params" in members and isinstance(action, str) and action in set(ActionType):
        at.told.warn(
            at.origins.get("action", at.origins[""]), "is read as action_type: a step with params is executable"
        )
        members["action_type"] = members.pop("action")
        at.origins["action_type"] = at.origins.get("action", at.origins[""])
    return members


def _case(members: Members, at: Written) -> Members:  # noqa: ARG001 - as every shape
    """What is expected, under the documented names."""
    expected = members.get("expectedOutput")
    if isinstance(expected, Mapping):
        respelled = {_EXPECTED.get(plain(str(key)), key): value for key, value in expected.items()}
        if len(respelled) == len(expected):
            severity = respelled.get("severity")
            if isinstance(severity, str):
                respelled["severity"] = _SEVERITIES.get(plain(severity), severity)
            members["expectedOutput"] = respelled
    return members


SHAPES: Mapping[str, Callable[[Members, Written], Members]] = {
    "DomainPack": _domain,
    "TenantPack": _tenant,
    "SeverityRule": _rule,
    "DetectionRule": _rule,
    "PolicyTagRule": _rule,
    "Attribute": _attribute,
    "ToolSignature": _tool,
    "Sla": _sla,
    "NotificationPolicy": _notification,
    "Playbook": _playbook,
    "Match": _match,
    "StepBase": _step,
    "SuiteCase": _case,
}
"""By the part's class."""
