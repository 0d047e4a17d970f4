"""What can be told from a condition's text, where it is beyond doubt: the types it can match, the fields it reads.

`exceptionType == 'X' && rest` is false for every other type whatever `rest` does: in CEL `false && error`
is false. Where the text holds anything that makes this hard to see (alternatives, conditionals, escapes,
comments) nothing is claimed and the condition is simply evaluated, over the whole payload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HARD_TO_SEE = re.compile(r"\\|//|'''|\"\"\"|\b[rRbB]{1,2}['\"]")
_STRING = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")
_EQUAL = re.compile(
    r"exceptionType\s*==\s*(?P<a>'[^'\n]*'|\"[^\"\n]*\")|(?P<b>'[^'\n]*'|\"[^\"\n]*\")\s*==\s*exceptionType"
)
_ONE_OF = re.compile(r"exceptionType\s+in\s*\[(?P<list>[^\[\]]*)\]")
_STRING_LIST = re.compile(r"\s*(?:'[^'\n]*'|\"[^\"\n]*\")(?:\s*,\s*(?:'[^'\n]*'|\"[^\"\n]*\"))*\s*")
_LITERAL = r"(?:'[^'\n]*'|\"[^\"\n]*\"|-?\d+(?:\.\d+)?|true|false|null)"
_COMPARED = re.compile(
    r"rawPayload\.(?P<key>[A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*\s*"
    rf"(?:(?:==|!=|<=|>=|<|>)\s*{_LITERAL}|in\s*\[\s*{_LITERAL}(?:\s*,\s*{_LITERAL})*\s*\])"
)
_PAYLOAD = re.compile(r"\brawPayload\b(?:\s*\.\s*(?P<key>[A-Za-z_]\w*)(?!\w)(?P<call>\s*\()?)?")


@dataclass(frozen=True, slots=True)
class Demand:
    """The types a condition can match (None: any), and whether that is all it asks."""

    types: frozenset[str] | None
    alone: bool


NO_DEMAND = Demand(None, False)


def required_types(source: str) -> Demand:
    """What `source` demands of exceptionType."""
    conjuncts = _conjuncts(source)
    demands = [types for types in map(_types_named, conjuncts) if types is not None]
    if not demands:
        return NO_DEMAND
    return Demand(frozenset.intersection(*demands), alone=len(demands) == len(conjuncts))


def compared_keys(source: str) -> frozenset[str]:
    """The top-level keys of rawPayload that a condition compares with constants, one or more in each conjunct.

    Where none of them is there, the condition has nothing to go by: each of its conjuncts, but for those that ask
    for the type, refers to an absent field. Empty: that cannot be told for sure.
    """
    conjuncts = [conjunct for conjunct in _conjuncts(source) if _types_named(conjunct) is None]
    found = [_COMPARED.fullmatch(conjunct) for conjunct in conjuncts]
    return frozenset(match["key"] for match in found if match is not None) if all(found) else frozenset()


def payload_keys(source: str) -> frozenset[str] | None:
    """The top-level keys of rawPayload that a condition can read; None: it may look at the payload as a whole."""
    uses = list(_PAYLOAD.finditer(source))
    if any(use["key"] is None or use["call"] is not None for use in uses):
        return None
    return frozenset(use["key"] for use in uses)


def _types_named(conjunct: str) -> frozenset[str] | None:
    equal = _EQUAL.fullmatch(conjunct)
    if equal:
        return frozenset({(equal["a"] or equal["b"])[1:-1]})
    one_of = _ONE_OF.fullmatch(conjunct)
    if one_of and _STRING_LIST.fullmatch(one_of["list"]):
        return frozenset(literal[1:-1] for literal in _STRING.findall(one_of["list"]))
    return None


def _conjuncts(source: str) -> list[str]:
    """The operands of the outermost `&&`; empty when that cannot be told for sure."""
    if _HARD_TO_SEE.search(source):
        return []
    blank = _STRING.sub(lambda found: "'" + "_" * (len(found.group()) - 2) + "'", source)
    parts, start, depth = [], 0, 0
    for index, character in enumerate(blank):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth > 0:
            continue
        elif character == "?" or blank.startswith("||", index):
            return []
        elif blank.startswith("&&", index):
            parts.append(source[start:index])
            start = index + 2
    parts.append(source[start:])
    return [_bare(part) for part in parts]


def _bare(conjunct: str) -> str:
    """Without spaces and without one pair of parentheses around the whole, if it holds none inside."""
    text = conjunct.strip()
    inner = text[1:-1]
    if text.startswith("(") and text.endswith(")") and "(" not in inner and ")" not in inner:
        return inner.strip()
    return text
