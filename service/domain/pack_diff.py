"""What a change of a pack means: its differences by path, and which rules, playbooks, tools and cases they touch.

Lists are compared by what is in them: a rule put first is one rule more, not a change of all that follow.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.packs.faults import path_of

PARTS = {
    "exceptionTypes": "exception type",
    "entities": "entity",
    "tools": "tool",
    "toolOverrides": "tool override",
    "playbooks": "playbook",
    "customPlaybooks": "playbook",
    "severityRules": "severity rule",
    "customSeverityOverrides": "severity override",
    "humanApprovalRules": "approval rule",
    "approvedTools": "approved tool",
    "testSuites": "test case",
}
"""Keys whose entries people think of as things, and what they call one."""
_NAMES = ("name", "exceptionType", "exception_type", "severity")
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    path: str
    """In the new document; what was removed has its path in the old one."""
    kind: str
    """`added`, `removed`, `changed` or `moved`."""
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class PartChange:
    """A part of the pack that was added, removed, moved or changed."""

    part: str
    """What it is: `tool`, `playbook`, … or the key of the document."""
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class PackDifference:
    """Everything in which two documents differ."""

    changes: tuple[Change, ...]
    parts: tuple[PartChange, ...]

    @property
    def same(self) -> bool:
        """They say the same."""
        return not self.changes


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> PackDifference:
    """Compare two pack documents."""
    changes = tuple(_changes("", before, after))
    parts: dict[tuple[str, str], str] = {}
    for key in sorted({*before, *after}):
        for part in _parts(key, before.get(key), after.get(key)):
            parts[part.part, part.name] = part.kind
    return PackDifference(changes, tuple(PartChange(part, name, kind) for (part, name), kind in parts.items()))


def _changes(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            here = path_of((str(key),), path)
            if key not in after:
                yield Change(here, "removed", before=before[key])
            elif key not in before:
                yield Change(here, "added", after=after[key])
            else:
                yield from _changes(here, before[key], after[key])
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(path, before, after)
    elif _text(before) != _text(after):
        yield Change(path, "changed", before, after)


def _list_changes(path: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Change]:
    old, new = _aligned(before, after)
    left = {_text(before[at]) for at in old if at not in _values(new)}
    for at, partner in sorted(new.items()):
        if partner is not None:
            yield from _changes(f"{path}[{at}]", before[partner], after[at])
        elif _text(after[at]) in left:
            yield Change(f"{path}[{at}]", "moved", after=after[at])
        else:
            yield Change(f"{path}[{at}]", "added", after=after[at])
    came = {_text(after[at]) for at, partner in new.items() if partner is None}
    for at, partner in sorted(old.items()):
        if partner is None and _text(before[at]) not in came:
            yield Change(f"{path}[{at}]", "removed", before=before[at])


def _aligned(before: Sequence[Any], after: Sequence[Any]) -> tuple[dict[int, int | None], dict[int, int | None]]:
    """Each item's partner in the other list: the same content in order, else the same name, else the same place."""
    old: dict[int, int | None] = dict.fromkeys(range(len(before)))
    new: dict[int, int | None] = dict.fromkeys(range(len(after)))

    def pair(left: int, right: int) -> None:
        old[left], new[right] = right, left

    matcher = difflib.SequenceMatcher(None, [_text(one) for one in before], [_text(one) for one in after], False)
    for tag, left, left_end, right, _ in matcher.get_opcodes():
        if tag == "equal":
            for step in range(left_end - left):
                pair(left + step, right + step)
    named = {_named(before[at]): at for at, partner in old.items() if partner is None}
    elsewhere = {_text(one) for one in before}
    for at, partner in list(new.items()):
        twin = named.get(_named(after[at]))
        if partner is None and _named(after[at]) and twin is not None and _text(after[at]) not in elsewhere:
            pair(named.pop(_named(after[at])), at)
    for tag, left, left_end, right, right_end in matcher.get_opcodes():
        if tag == "replace" and left_end - left == right_end - right:
            for step in range(left_end - left):
                if old[left + step] is None and new[right + step] is None and not _named(before[left + step]):
                    pair(left + step, right + step)
    return old, new


def _values(partners: Mapping[int, int | None]) -> set[int]:
    return {partner for partner in partners.values() if partner is not None}


def _parts(key: str, before: Any, after: Any) -> Iterator[PartChange]:
    what = PARTS.get(key)
    if _text(before) == _text(after):
        return
    if what is not None and _are(list, before, after):
        yield from _list_parts(what, before or [], after or [])
    elif what is not None and _are(dict, before, after):
        old, new = before or {}, after or {}
        for name in sorted({*old, *new}):
            if name not in old or name not in new or _text(old[name]) != _text(new[name]):
                kind = "added" if name not in old else "removed" if name not in new else "changed"
                yield PartChange(what, str(name), kind)
    else:
        yield PartChange(key, "", "added" if before is None else "removed" if after is None else "changed")


def _are(kind: type, before: Any, after: Any) -> bool:
    """Both are of a kind, or one is and the other is not there."""
    return all(one is None or isinstance(one, kind) for one in (before, after))


def _list_parts(what: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[PartChange]:
    old, new = _aligned(before, after)
    gone = {_text(before[at]) for at, partner in old.items() if partner is None}
    come = {_text(after[at]) for at, partner in new.items() if partner is None}
    for at, partner in sorted(new.items()):
        item = after[at]
        if partner is None:
            yield PartChange(what, _label(item), "moved" if _text(item) in gone else "added")
        elif _text(before[partner]) != _text(item):
            yield PartChange(what, _label(item), "changed")
    for at, partner in sorted(old.items()):
        if partner is None and _text(before[at]) not in come:
            yield PartChange(what, _label(before[at]), "removed")


def _named(item: Any) -> str | None:
    """What an item of a list is known by, if its list can have it only once."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) else None


def _label(item: Any) -> str:
    if isinstance(item, Mapping):
        if "condition" in item and "severity" in item:
            return f"{item['severity']} if {item['condition']}"[:_LONGEST_NAME]
        found = next((item[name] for name in _NAMES if isinstance(item.get(name), str)), None)
        if found is not None:
            return str(found)
    return _text(item)[:_LONGEST_NAME]


def _text(value: Any) -> str:
    """A value as one text, the same for values that say the same."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
