"""YAML that says what JSON can say, with the line on which each part of it stands.

Scalars are read by YAML 1.2's JSON rules: only `true` and `false` are booleans (a key `on` stays a text), what
looks like a date or has leading zeros is a text. Aliases are followed up to a bound; what has no counterpart in
JSON (tags of other types, merge keys, keys that are lists) is a fault with its place.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from service.domain.packs.faults import Fault, path_of
from service.domain.packs.reading.json_text import unstorable
from service.domain.packs.reading.places import DEEPEST, Places

MOST_NODES = 200_000
"""Values in a document once its aliases are followed."""

_PREFIX = "tag:yaml.org,2002:"
_SCALARS = (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", list("-+0123456789")),
)


class _Loader(yaml.SafeLoader):
    """Composes nodes; which plain scalar is of which type is said by JSON's rules."""


_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_PREFIX + _name, re.compile(f"(?:{_pattern})$"), _first)


def read_yaml(text: str) -> tuple[Any, Places, list[Fault]]:
    """The value, the lines of its parts, and what is wrong with it; a text that is not YAML has no value."""
    places = Places.of(text)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return None, places, [_syntax_fault(error)]
    except yaml.YAMLError as error:
        return None, places, [Fault("", f"not YAML: {str(error).splitlines()[0]}")]
    except RecursionError:
        return None, places, [Fault("", f"nested deeper than {DEEPEST} levels")]
    if node is None:
        return None, places, []
    reader = _Reader(places)
    return reader.value(node, "", 0), places, reader.faults


class _Reader:
    """Turns nodes into JSON values."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._nodes = 0
        self.faults: list[Fault] = []

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        """A node's value; None where it has none, which is told."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            if self._nodes == MOST_NODES + 1:
                self._tell(path, f"more than {MOST_NODES:,} values, aliases included", node)
            return None
        if depth >= DEEPEST and not isinstance(node, yaml.ScalarNode):
            self._tell(path, f"nested deeper than {DEEPEST} levels, or an alias of itself", node)
            return None
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
            return self._object(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
            return [self._item(item, f"{path}[{index}]", depth) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: str, depth: int) -> Any:
        self._places.note_line(path, _line(node))
        return self.value(node, path, depth + 1)

    def _object(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._tell(path, "a key has to be a text", key_node)
                continue
            key = str(key_node.value)
            here = path_of((key,), path)
            if key == "<<" and key_node.style is None:
                self._tell(here, "merge keys are not read; write the keys out", key_node)
            elif key in members:
                self._tell(here, f"{key!r} is said twice; its first line is {self._places.line_of(here)}", key_node)
            else:
                self._places.note_line(here, _line(key_node))
                members[key] = self.value(value_node, here, depth + 1)
        return members

    def _scalar(self, node: yaml.Node, path: str) -> Any:
        text, name = node.value, node.tag.removeprefix(_PREFIX)
        try:
            match name:
                case "str" | "!":
                    value: Any = text
                case "null":
                    value = None
                case "bool":
                    value = {"true": True, "false": False}[text.lower()]
                case "int":
                    value = int(text)
                case "float":
                    value = float(text)
                case _:
                    self._tell(path, f"a value of type {node.tag!r} cannot be said in JSON", node)
                    return None
        except (KeyError, ValueError):
            self._tell(path, f"is not a value of type {name!r}", node)
            return None
        problem = unstorable(value)
        if problem is not None:
            self._tell(path, problem, node)
        return value

    def _tell(self, path: str, message: str, node: yaml.Node) -> None:
        self.faults.append(Fault(path, message, _line(node)))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_fault(error: yaml.MarkedYAMLError) -> Fault:
    problem = error.problem or error.context or "cannot be read"
    if "'\\t'" in problem:
        problem = "a tab cannot indent YAML; use spaces"
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Fault("", f"not YAML: {problem}")
    return Fault("", f"not YAML: {problem}, column {mark.column + 1}", mark.line + 1)
