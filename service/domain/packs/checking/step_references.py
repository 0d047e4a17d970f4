"""What steps of a playbook refer to of one another: keys of results, and a foreach's item and index.

Read from the document, so that it can be told whatever else is wrong with a step.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.domain import templates
from service.domain.conditions import Condition

LATER_NAMES = frozenset({"steps", "item", "index"})
"""Variables that conditions of steps have besides those of `service.domain.conditions.VARIABLES`."""

_KEY = re.compile(r"[A-Za-z_]\w{0,99}")
_STEPS = re.compile(r"\bsteps\s*(?:\.\s*(?P<name>[A-Za-z_]\w*)|\[\s*['\"](?P<quoted>[^'\"]*)['\"]\s*\])")
_BINDING = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of `steps.<key>`, `item` or `index`."""

    scope: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a step may refer to."""

    visible: frozenset[str] = frozenset()
    """Keys of steps that are over when its turn comes."""
    known: frozenset[str] = frozenset()
    """All keys of the playbook."""
    ambiguous: frozenset[str] = frozenset()
    """Names that several steps have, so that they are nobody's key."""
    in_foreach: bool = False
    at_once: bool = False
    """Inside steps that run side by side."""
    depth: int = 0

    def after(self, keys: Iterable[str]) -> Scope:
        """The scope of what follows steps with these keys."""
        return replace(self, visible=self.visible | frozenset(keys))

    def fault(self, reference: Reference) -> str | None:
        """What is wrong with a reference here; None: nothing."""
        if reference.key is None:
            inside = "only steps inside a foreach have an item and an index"
            return None if reference.scope == "steps" or self.in_foreach else inside
        if reference.key in self.visible:
            return None
        if reference.key in self.known:
            return f"step {reference.key!r} is not over when this one's turn comes, or it is inside a foreach"
        if reference.key in self.ambiguous:
            return f"several steps are called {reference.key!r}; give the one that is meant a `key`"
        return f"no step has the key {reference.key!r} (a `key`, or a name that is an identifier)"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a playbook's steps."""

    _explicit: frozenset[str]
    _names: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, named: Iterable[tuple[Any, Any]]) -> Keys:
        """From every step's `key` and `name`, at any depth."""
        pairs = list(named)
        names = Counter(name for key, name in pairs if key is None and _is_key(name))
        return cls(frozenset(key for key, _ in pairs if isinstance(key, str)), names)

    def key_of(self, key: Any, name: Any) -> str | None:
        """The key of one step."""
        if isinstance(key, str):
            return key
        return name if self._names.get(name) == 1 and name not in self._explicit else None

    @property
    def scope(self) -> Scope:
        """What the first step may refer to."""
        single = {name for name, number in self._names.items() if number == 1}
        return Scope(known=self._explicit | single, ambiguous=frozenset(self._names) - single - self._explicit)


def of_value(value: Any) -> Iterator[Reference]:
    """References in a value's templates. Raises TemplateError."""
    for placeholder in templates.placeholders(templates.parse(value)):
        if placeholder.scope != "exception":
            yield Reference(placeholder.scope, placeholder.path[0] if placeholder.scope == "steps" else None)


def of_condition(condition: Condition) -> Iterator[Reference]:
    """References in a condition."""
    names = later_names(condition)
    for name in names:
        if name != "steps":
            yield Reference(name)
    if "steps" in names:
        for found in _STEPS.finditer(condition.source):
            yield Reference("steps", found["name"] or found["quoted"])


def later_names(condition: Condition) -> frozenset[str]:
    """Which of LATER_NAMES a condition reads: it can only be asked when its step's turn comes."""
    bound = set(_BINDING.findall(condition.source))
    return frozenset(condition.program.variables()) & LATER_NAMES - bound


def groups_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Any], str]]:
    """The lists of steps inside a group's document, each with its path from the step, and the group's action."""
    params = document.get("params")
    action = document.get("action_type")
    if not isinstance(params, Mapping) or not isinstance(action, str):
        return
    match action:
        case "branch":
            for index, arm in enumerate(_list(params.get("arms"))):
                if isinstance(arm, Mapping):
                    name = "then" if "then" in arm else "steps"
                    yield f"params.arms[{index}].{name}", _list(arm.get(name)), action
            yield "params.then", _list(params.get("then")), action
            name = "otherwise" if "otherwise" in params else "else"
            yield f"params.{name}", _list(params.get(name)), action
        case "foreach":
            yield "params.steps", _list(params.get("steps")), action
        case "parallel":
            for index, steps in enumerate(_list(params.get("branches"))):
                yield f"params.branches[{index}]", _list(steps), action


def documents_within(steps: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """Every step's document at any depth."""
    for step in steps:
        if isinstance(step, Mapping):
            yield step
            for _, inner, _ in groups_of(step):
                yield from documents_within(inner)


def _is_key(name: Any) -> bool:
    return isinstance(name, str) and _KEY.fullmatch(name) is not None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
