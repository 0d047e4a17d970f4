"""Redaction: the view of data in which what is sensitive is masked.

Packs declare fields as dotted paths into the payload (`customer.ssn`; lists on the way are entered, so
`legs.account` masks the account of every leg) or by patterns on names and values; detectors find what nobody
declared. A payload that holds nothing sensitive is returned as it is, the same object; parts without sensitive
values are shared with the original, so a view must not be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from service.domain.detectors import MASK, Detector, is_secret_name, masked_text, suspicious
from service.domain.exceptions import Json
from service.domain.patterns import Patterns

__all__ = ["MASK", "Redacted", "Redactor"]

_SHORTEST_MASKED_VALUE = 4
"""Characters. Shorter values are not searched for in free text: they would mask half of every sentence."""

_Tree = Mapping[str, "_Tree | None"]
_NO_PATTERNS = Patterns()
_NONE: frozenset[Detector] = frozenset()


@dataclass(frozen=True, slots=True)
class Redacted:
    """A view, and which declared paths were masked in it; then where else something was, by pattern or detector."""

    view: Json
    masked: tuple[str, ...]
    detected: tuple[str, ...] = ()
    """Paths with what was found there: `note (email)`."""


@dataclass(frozen=True, slots=True)
class Redactor:
    """Masks what is sensitive for one pack."""

    paths: tuple[str, ...]
    _tree: _Tree
    _leaves: frozenset[str]
    patterns: Patterns = _NO_PATTERNS
    detectors: frozenset[Detector] = _NONE
    readable: frozenset[str] = frozenset()
    """Paths that are left as they are, declared or not: a tool needs them."""

    @classmethod
    def of(
        cls,
        paths: Iterable[str],
        patterns: Patterns = _NO_PATTERNS,
        detectors: Iterable[Detector] = (),
    ) -> Redactor:
        """A redactor of dotted paths, patterns and detectors; a path beneath another declared path adds nothing."""
        tree: dict[str, Any] = {}
        ordered = tuple(dict.fromkeys(paths))
        for path in sorted(ordered, key=len):
            *parents, leaf = path.split(".")
            node: dict[str, Any] | None = tree
            for part in parents:
                node = node.setdefault(part, {}) if node is not None else None
            if node is not None:
                node[leaf] = None
        leaves = frozenset(path.rsplit(".", 1)[-1] for path in ordered)
        return cls(ordered, tree, leaves, patterns, frozenset(detectors))

    @property
    def key(self) -> tuple[tuple[str, ...], frozenset[str]]:
        """Tells apart the redactors of one pack: two with the same key give the same view."""
        return self.paths, self.readable

    def without(self, paths: Iterable[str]) -> Redactor:
        """A redactor that leaves `paths` readable: for a tool that is declared to need them."""
        needed = frozenset(paths)
        if not needed:
            return self
        declared = Redactor.of((path for path in self.paths if path not in needed), self.patterns, self.detectors)
        return replace(declared, readable=self.readable | needed)

    def redact(self, payload: Json) -> Redacted:
        """Mask what is sensitive in a payload."""
        masked: dict[str, None] = {}
        view: Json = _masked(payload, self._tree, "", masked) if self._tree else payload
        search = self._search(view)
        if search is None:
            return Redacted(view, tuple(masked))
        return Redacted(search.value(view, ""), tuple(masked), tuple(search.found))

    def redact_foreign(self, value: Any, payload: Json) -> Any:
        """Mask in data that is not the payload (a tool's answer, a comment).

        Declared names are masked wherever they appear, and so are the payload's sensitive values inside texts;
        patterns and detectors look at it as they look at a payload.
        """
        if self._tree or self.patterns:
            secrets: list[str] = []
            _collect(payload, self._tree, secrets)
            if self.patterns:
                self._collect_named(payload, secrets)
            if secrets or self._leaves:
                value = self._scrub(value, sorted(set(secrets), key=len, reverse=True))
        search = self._search(value)
        return value if search is None else search.value(value, "")

    def _search(self, value: Any) -> _Search | None:
        """What has to be looked for in a value beyond the declared paths; None: nothing."""
        detectors = self.detectors if self.detectors and _suspicious(value, self.detectors) else _NONE
        return _Search(self.patterns, detectors, self.readable) if self.patterns or detectors else None

    def _collect_named(self, value: Any, secrets: list[str]) -> None:
        if isinstance(value, Mapping):
            for name, item in value.items():
                if self.patterns.names(str(name)):
                    _gather(item, secrets)
                else:
                    self._collect_named(item, secrets)
        elif isinstance(value, list | tuple):
            for item in value:
                self._collect_named(item, secrets)

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


class _Search:
    """Looks through one value for what patterns and detectors find."""

    __slots__ = ("_detectors", "_patterns", "_readable", "found")

    def __init__(self, patterns: Patterns, detectors: frozenset[Detector], readable: frozenset[str]) -> None:
        self._patterns = patterns
        self._detectors = detectors
        self._readable = readable
        self.found: dict[str, None] = {}

    def value(self, value: Any, path: str) -> Any:
        """`value` with what is found masked; the same object when nothing is."""
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, Mapping):
            changed = {}
            for name, old in value.items():
                here = f"{path}.{name}" if path else str(name)
                new = old if here in self._readable else self._field(str(name), old, here)
                if new is not old:
                    changed[name] = new
            return {**value, **changed} if changed else value
        if isinstance(value, list | tuple):
            items = [self.value(item, path) for item in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if value is None or isinstance(value, bool):
            return value
        text = str(value)
        return value if self._text(text, path) == text else MASK

    def _field(self, name: str, value: Any, path: str) -> Any:
        if value is None or value == MASK:
            return value
        if self._patterns and self._patterns.names(name):
            self.found[f"{path} (pattern)"] = None
            return MASK
        if Detector.SECRET in self._detectors and not isinstance(value, bool) and is_secret_name(name):
            self.found[f"{path} ({Detector.SECRET})"] = None
            return MASK
        return self.value(value, path)

    def _text(self, text: str, path: str) -> str:
        new = text
        if self._detectors:
            by: set[Detector] = set()
            new = masked_text(text, self._detectors, by)
            self.found.update(dict.fromkeys(f"{path} ({detector})" for detector in sorted(by)))
        if self._patterns:
            before, new = new, self._patterns.masked(new)
            if new != before:
                self.found[f"{path} (pattern)"] = None
        return new


def _suspicious(value: Any, detectors: frozenset[Detector]) -> bool:
    """Whether it is worth a closer look; what cannot be written as JSON always is."""
    try:
        return suspicious(orjson.dumps(value), detectors)
    except TypeError:
        return True


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
