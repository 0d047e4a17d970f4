"""Packs as the API and the command line show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.api import pack_schemas, problem_schemas
from service.domain.packs.faults import Fault
from service.engine.pack_history import HistoryEntry, VersionState
from service.engine.pack_pairs import PackKey


def summary(version: VersionState) -> pack_schemas.PackSummary:
    """One version as lists show it."""
    return pack_schemas.PackSummary(**_summary_values(version))


def detail(
    versions: Sequence[VersionState], number: int, document: Mapping[str, Any], test: Mapping[str, Any] | None
) -> pack_schemas.PackDetail:
    """One of a pack's versions with its document. `versions` are all of the pack's."""
    (version,) = (one for one in versions if one.entry.version == number)
    return pack_schemas.PackDetail(
        **_summary_values(version),
        active_version=active_version(versions),
        newest_version=versions[-1].entry.version,
        test=None if test is None else pack_schemas.TestCounts(passed=test["passed"], failed=test["failed"]),
        document=dict(document),
    )


def active_version(versions: Iterable[VersionState]) -> int | None:
    """The version in force now."""
    return next((one.entry.version for one in versions if one.entry.active), None)


def activated(key: PackKey, versions: Sequence[VersionState], version: int, number: int) -> pack_schemas.PackActivated:
    """What an activation led to."""
    (found,) = (one for one in versions if one.entry.version == version)
    return pack_schemas.PackActivated(
        kind=key.kind,
        name=key.name,
        version=version,
        state=found.state,
        number=number,
        active_version=active_version(versions),
        scheduled_for=found.scheduled_for,
    )


def history(entries: Sequence[HistoryEntry]) -> pack_schemas.PackHistory:
    """A pack's history, newest first."""
    items = [
        pack_schemas.HistoryItem(**{name: getattr(entry, name) for name in HistoryEntry.__slots__})
        for entry in reversed(entries)
    ]
    return pack_schemas.PackHistory(items=items)


def faults(found: Iterable[Fault]) -> list[problem_schemas.Fault]:
    """Faults or warnings."""
    return [problem_schemas.Fault(path=fault.path, message=fault.message, line=fault.line) for fault in found]


def _summary_values(version: VersionState) -> dict[str, Any]:
    entry = version.entry
    return {
        "kind": entry.kind,
        "name": entry.name,
        "version": entry.version,
        "state": version.state,
        "active": entry.active,
        "scheduled_for": version.scheduled_for,
        "content_hash": entry.content_hash,
        "created_at": entry.created_at,
        "created_by": entry.created_by,
        "comment": entry.comment,
    }
