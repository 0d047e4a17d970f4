"""Redaction: the view of data in which declared sensitive fields are masked.

Fields are declared as dotted paths into the payload (`customer.ssn`). Lists on the way are entered, so
`legs.account` masks the account of every leg. A payload that has none of the fields is returned as it is,
the same object; parts without sensitive fields are shared with the original, so a view must not be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.exceptions import Json

MASK = "[REDACTED]"
"""What stands in a view for a sensitive value. The same for every value, so nothing can be read from it."""

_SHORTEST_MASKED_VALUE = 4
"""Characters. Shorter values are not searched for in free text: they would mask half of every sentence."""

_Tree = Mapping[str, "_Tree | None"]


@dataclass(frozen=True, slots=True)
class Redacted:
    """A view, and which declared paths were masked in it."""

    view: Json
    masked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Redactor:
    """Masks one pack's sensitive fields."""

    paths: tuple[str, ...]
    _tree: _Tree
    _leaves: frozenset[str]

    @classmethod
    def of(cls, paths: Iterable[str]) -> Redactor:
        """A redactor of dotted paths; a path beneath another declared path adds nothing."""
        tree: dict[str, Any] = {}
        ordered = tuple(dict.fromkeys(paths))
        for path in sorted(ordered, key=len):
            *parents, leaf = path.split(".")
            node: dict[str, Any] | None = tree
            for part in parents:
                node = node.setdefault(part, {}) if node is not None else None
            if node is not None:
                node[leaf] = None
        return cls(ordered, tree, frozenset(path.rsplit(".", 1)[-1] for path in ordered))

    def without(self, paths: Iterable[str]) -> Redactor:
        """A redactor that leaves `paths` readable: for a tool that is declared to need them."""
        kept = set(self.paths) - set(paths)
        return Redactor.of(path for path in self.paths if path in kept)

    def redact(self, payload: Json) -> Redacted:
        """Mask the declared fields of a payload."""
        if not self._tree:
            return Redacted(payload, ())
        masked: dict[str, None] = {}
        view = _masked(payload, self._tree, "", masked)
        return Redacted(view, tuple(masked)) if masked else Redacted(payload, ())

    def redact_foreign(self, value: Any, payload: Json) -> Any:
        """Mask in data that is not the payload (a tool's answer, a comment).

        Declared names are masked wherever they appear, and so are the payload's sensitive values inside texts.
        """
        if not self._tree:
            return value
        secrets: list[str] = []
        _collect(payload, self._tree, secrets)
        return self._scrub(value, sorted(set(secrets), key=len, reverse=True))

    def _scrub(self, value: Any, secrets: list[str]) -> Any:
        if isinstance(value, str):
            for secret in secrets:
                value = value.replace(secret, MASK)
            return value
        if isinstance(value, Mapping):
            return {
                key: MASK if key in self._leaves and item is not None else self._scrub(item, secrets)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self._scrub(item, secrets) for item in value]
        return MASK if not isinstance(value, bool) and value is not None and str(value) in secrets else value


def _masked(value: Any, tree: _Tree, path: str, masked: dict[str, None]) -> Any:
    """`value` with the tree's leaves masked; the same object when it has none. Notes what was masked."""
    if isinstance(value, Mapping):
        changed: dict[str, Any] = {}
        for name, below in tree.items():
            old = value.get(name)
            if old is None:
                continue
            new = MASK if below is None else _masked(old, below, f"{path}{name}.", masked)
            if below is None:
                masked[path + name] = None
            if new is not old:
                changed[name] = new
        return {**value, **changed} if changed else value
    if isinstance(value, list | tuple):
        items = [_masked(item, tree, path, masked) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def _collect(value: Any, tree: _Tree, secrets: list[str]) -> None:
    """Gather the sensitive values long enough to be searched for."""
    if isinstance(value, Mapping):
        for name, below in tree.items():
            found = value.get(name)
            if below is None:
                _gather(found, secrets)
            elif found is not None:
                _collect(found, below, secrets)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, tree, secrets)


def _gather(value: Any, secrets: list[str]) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _gather(item, secrets)
    elif isinstance(value, list | tuple):
        for item in value:
            _gather(item, secrets)
    elif (
        value is not None
        and not isinstance(value, bool)
        and len(str(value)) >= _SHORTEST_MASKED_VALUE
        and value != MASK
    ):
        secrets.append(str(value))
