"""The JSON Schemas (2020-12) of both pack formats, made from the models, for editors and for other programs.

They describe the documented form and let the dialects pass: what `normalisation` understands is not an error in an
editor. Whether a pack is right is said by `parse_document`; a schema cannot know whether a tool exists.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from service.domain.packs.dialects.spellings import SYNONYMS, TEXTS, plain
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.parts import CONDITION_FORMAT
from service.domain.packs.reading.documents import PackKind
from service.domain.packs.steps import ActionType
from service.domain.packs.tools import KINDS, ToolKind

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_STEPS = {"WaitStep": "wait", "BranchStep": "branch", "ForeachStep": "foreach", "ParallelStep": "parallel"}
_TOOLS = {model.__name__: kind.value for kind, model in KINDS.items()}
_TEXTS = {"Relation", *TEXTS} - {"StepBase"}

_EXAMPLES: Mapping[str, Any] = {
    "SeverityRule": {"condition": "exceptionType == 'PARCEL_LATE' && rawPayload.daysLate > 7", "severity": "HIGH"},
    "DetectionRule": {"condition": "has(rawPayload.daysLate)", "confidence": 0.9},
    "PolicyTagRule": {"condition": "rawPayload.value > 1000", "tags": ["valuable"]},
    "ApprovalRule": {"severity": "CRITICAL", "requireApproval": True, "approvals": 2, "timeLimitMinutes": 60},
    "NotificationPolicy": {
        "on": ["ExceptionEscalated"],
        "channel": "email",
        "params": {"to": "desk@example.org", "subject": "{{ event.type }}", "text": "{{ exception.exceptionId }}"},
    },
    "SensitivePattern": {"keys": "(?i)^ssn$"},
    "ProseStep": {"action": "Ring the depot"},
    "Attribute": {"type": "string", "required": True},
    "SuiteCase": {"name": "a week", "input": {"exceptionType": "LATE"}, "expectedOutput": {"severity": "HIGH"}},
}


def pack_schema(kind: PackKind) -> Schema:
    """The schema of domain packs or of tenant packs: JSON-ready, a new object each time."""
    model = TenantPack if kind is PackKind.TENANT else DomainPack
    schema = model.model_json_schema(mode="validation")
    definitions = {name: _definition(name, part) for name, part in schema.pop("$defs").items()}
    root = _definition(model.__name__, schema)
    root["properties"] = {"$schema": {"type": "string"}, **root["properties"]}
    return {
        "$schema": DIALECT,
        "$id": f"urn:sentinai:pack:{kind.value}",
        **root,
        "title": f"SentinAI {kind.value} pack",
        "$defs": {**definitions, "Step": _step(definitions), "Tool": _tool(definitions)},
    }


def _definition(name: str, part: Schema) -> Schema:
    """One part or enumeration, with the dialects let in."""
    if "enum" in part:
        return _enumeration(part)
    lenient: Schema = {key: value for key, value in part.items() if key not in ("required", "properties")}
    lenient["title"] = _words(part.get("title", name))
    lenient["properties"] = {key: _value(value) for key, value in part.get("properties", {}).items()}
    spelled = {key: _spellings(name, key) for key in part.get("properties", {})}
    lenient |= _required(name, part.get("required", ()), spelled)
    if part.get("additionalProperties") is False:
        others = sorted({other for spellings in spelled.values() for other in spellings})
        lenient["patternProperties"] = {f"^(?:{'|'.join(map(re.escape, others))})$": True}
    if name in _EXAMPLES:
        lenient["examples"] = [_EXAMPLES[name]]
    if name not in _TEXTS:
        return lenient
    title = lenient.pop("title")
    return {"title": title, "anyOf": [lenient, {"type": "string"}]}


def _required(name: str, keys: Any, spelled: Mapping[str, list[str]]) -> Schema:
    """What has to be there, under any of its names."""
    needed = [{"anyOf": [{"required": [other]} for other in spelled.get(key, [key])]} for key in keys]
    if name == "SuiteCase":
        return {"anyOf": [{"allOf": needed}, {"required": ["cases"]}]}
    return {"allOf": needed} if needed else {}


def _spellings(name: str, key: str) -> list[str]:
    """A key and its other names; those of a part's bases are looked up by the part's own name too."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), key)
    bases = [name, "ToolSignature" if name.endswith("Tool") else "StepBase" if name.endswith("Step") else ""]
    synonyms = [other for base in bases for other, known in SYNONYMS.get(base, {}).items() if known == key]
    return list(dict.fromkeys([key, words.lower(), camel, *synonyms]))


def _value(value: Any) -> Any:
    """A value's schema without the titles that only repeat its key, and with what else is understood there."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("format") == CONDITION_FORMAT:
        return {**_untitled(value), "type": ["string", "object", "boolean"]}
    if "oneOf" in value:
        union = {item.get("$ref", "").rsplit("/", 1)[-1] for item in value["oneOf"]}
        if union & {*_STEPS, *_TOOLS}:
            return {"$ref": f"#/$defs/{'Step' if union & set(_STEPS) else 'Tool'}"}
    lenient = {key: _value(item) for key, item in _untitled(value).items()}
    if lenient.get("type") == "object" and isinstance(lenient.get("additionalProperties"), Mapping):
        lenient["type"] = ["object", "array"]
    elif lenient.get("type") == "array":
        lenient["type"] = ["array", "string", "object"]
    return lenient


def _untitled(value: Mapping[str, Any]) -> Schema:
    return {key: item for key, item in value.items() if key != "title" or not isinstance(item, str)}


def _enumeration(part: Schema) -> Schema:
    """The values as documented, or however they are spelled."""
    loose = "|".join(
        "[_ -]?".join(f"[{letter}{letter.upper()}]" for letter in plain(str(value))) for value in part["enum"]
    )
    kept = {key: item for key, item in part.items() if key not in ("enum", "type")}
    return {**kept, "anyOf": [{"enum": part["enum"]}, {"type": "string", "pattern": f"^(?:{loose})$"}]}


def _step(definitions: Mapping[str, Schema]) -> Schema:
    """A step by what it does; one that is a text is for a person."""
    others = [action.value for action in ActionType if action.value not in _STEPS.values()]
    cases = [_case("action_type", [action], name) for name, action in _STEPS.items() if name in definitions]
    cases.append(_case("action_type", others, "LeafStep"))
    cases.append({"if": {"type": "object", "required": ["action"]}, "then": {"$ref": "#/$defs/ProseStep"}})
    return {"title": "Step", "type": ["object", "string"], "allOf": cases}


def _tool(definitions: Mapping[str, Schema]) -> Schema:
    """A tool by its kind; without one it is called by HTTP."""
    cases = [_case("kind", [kind], name) for name, kind in _TOOLS.items() if name in definitions]
    plain_http = {"if": {"not": {"required": ["kind"]}}, "then": {"$ref": f"#/$defs/{KINDS[ToolKind.HTTP].__name__}"}}
    return {"title": "Tool", "type": "object", "allOf": [*cases, plain_http]}


def _case(key: str, values: list[str], name: str) -> Schema:
    return {
        "if": {"type": "object", "required": [key], "properties": {key: {"enum": values}}},
        "then": {"$ref": f"#/$defs/{name}"},
    }


def _words(title: str) -> str:
    """`SeverityRule` as words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", title).capitalize()
