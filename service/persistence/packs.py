"""Packs as stored: versioned, content-hashed documents that never change, and the history of their activations.

Documents are stored as they were given; whether they make sense is `service.domain.packs`' judgement, and
callers make it before they put one here. Which activation is in force is the rule of
`service.domain.packs.deciding.activations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from service.domain.exceptions import PackVersions
from service.domain.packs.deciding.activations import Activation, in_force, standing
from service.domain.packs.hashing import canonical_hash
from service.domain.packs.reading.documents import PackKind
from service.errors import PermanentError
from service.persistence.pack_schedules import Schedule
from service.persistence.statements import packs as statements
from service.persistence.unit_of_work import Transaction, as_json

__all__ = ["TENANT_PACK", "PackKind", "StoredPacks", "activate_pack", "get_pack", "list_packs", "put_pack"]

TENANT_PACK = "tenant"
"""The name under which a tenant's own pack is stored: it has one, whatever domain that names."""


class PackUnknownError(PermanentError):
    """There is no such version of the pack."""

    def __init__(self, kind: PackKind, name: str, version: int | None) -> None:
        wanted = "version" if version is None else f"version {version}"
        super().__init__(f"there is no {wanted} of {kind} pack {name!r}; `sentinai packs list` shows them")


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """Where a document was put."""

    version: int
    created: bool
    """False: a version with this very content was there already."""
    active: bool


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One version of a pack, without its document."""

    tenant_id: str
    kind: PackKind
    name: str
    version: int
    content_hash: str
    active: bool
    """It decides what is received now."""
    created_at: datetime
    created_by: str
    comment: str | None


@dataclass(frozen=True, slots=True)
class PackVersion:
    """One version with its document."""

    document: Mapping[str, Any]
    content_hash: str
    created_at: datetime
    created_by: str
    comment: str | None


def put_pack(
    transaction: Transaction,
    tenant_id: str,
    kind: PackKind,
    name: str,
    document: Mapping[str, Any],
    by: str,
    comment: str | None = None,
) -> StoredVersion:
    """Store a document as the next version, a draft; the same content again is the version it already has."""
    key = {"tenant": tenant_id, "kind": kind, "name": name}
    content = {**key, "hash": canonical_hash(document)}
    transaction.rows(statements.LOCK_NAME, key)
    rows = transaction.rows(statements.FIND_CONTENT, content)
    if rows:
        version: int = rows[0].version
        return StoredVersion(version, created=False, active=_active(transaction, tenant_id, kind, name) == version)
    rows = transaction.rows(statements.PUT, {**content, "document": as_json(document), "by": by, "comment": comment})
    return StoredVersion(rows[0].version, created=True, active=False)


def activate_pack(
    transaction: Transaction,
    tenant_id: str,
    kind: PackKind,
    name: str,
    version: int,
    now: datetime,
    *,
    at: datetime | None = None,
    by: str = "system",
    action: str = "activate",
    comment: str | None = None,
    forced: str | None = None,
) -> int:
    """Make a version the one that decides: everything not decided yet, or, with `at`, what is received from then on.

    The number of the entry in the pack's history. Raises PackUnknownError.
    """
    key = {"tenant": tenant_id, "kind": kind, "name": name, "version": version, "now": now}
    transaction.rows(statements.LOCK_NAME, key)
    rows = transaction.rows(
        statements.RECORD,
        {
            **key,
            "action": action,
            "effective_at": at or now,
            "immediate": at is None,
            "withdraws": None,
            "by": by,
            "comment": comment,
            "forced": forced,
        },
    )
    if not rows:
        raise PackUnknownError(kind, name, version)
    number: int = rows[0].number
    return number


def withdraw_activation(
    transaction: Transaction,
    tenant_id: str,
    kind: PackKind,
    name: str,
    activation: Activation,
    now: datetime,
    by: str,
    comment: str | None,
) -> None:
    """Record that an activation is taken back, before its instant."""
    transaction.rows(
        statements.RECORD,
        {
            "tenant": tenant_id,
            "kind": kind,
            "name": name,
            "version": activation.version,
            "now": now,
            "action": "withdraw",
            "effective_at": now,
            "immediate": False,
            "withdraws": activation.number,
            "by": by,
            "comment": comment,
            "forced": None,
        },
    )


@dataclass(frozen=True, slots=True)
class ReportKey:
    """Which report of which version."""

    kind: PackKind
    name: str
    version: int
    report: str
    """`test` or `backtest`."""


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report that is kept with a version."""

    made_at: datetime
    made_by: str
    document: Mapping[str, Any]


def keep_report(
    transaction: Transaction, tenant_id: str, key: ReportKey, document: Mapping[str, Any], now: datetime, by: str
) -> None:
    """Keep a report with its version, in place of the one before."""
    parameters = {**_report_key(tenant_id, key), "document": as_json(document), "now": now, "by": by}
    transaction.run(statements.KEEP_REPORT, parameters)


def get_report(transaction: Transaction, tenant_id: str, key: ReportKey) -> KeptReport | None:
    """The last report of its kind; None: there was none."""
    rows = transaction.rows(statements.REPORT, _report_key(tenant_id, key))
    return KeptReport(**rows[0]._mapping) if rows else None


def _report_key(tenant_id: str, key: ReportKey) -> dict[str, Any]:
    return {
        "tenant": tenant_id,
        "kind": key.kind,
        "name": key.name,
        "version": key.version,
        "report": key.report,
    }


def history_rows(transaction: Transaction, tenant_id: str, kind: PackKind, name: str) -> Sequence[Row[Any]]:
    """Every entry of a pack's history, oldest first, with the columns that the statement names."""
    return transaction.rows(statements.HISTORY, {"tenant": tenant_id, "kind": kind, "name": name})


def list_packs(
    transaction: Transaction, tenant_id: str | None = None, kind: PackKind | None = None, name: str | None = None
) -> list[PackEntry]:
    """Every version of every pack of a tenant, or of all tenants that the transaction sees."""
    rows = transaction.rows(statements.LIST, {"tenant": tenant_id, "kind": kind, "name": name})
    now = database_now(transaction)
    schedules = StoredPacks().schedules(transaction, {row.tenant_id for row in rows})
    entries = []
    for row in rows:
        decides = in_force(schedules.get(row.tenant_id, Schedule()).of(PackKind(row.kind), row.name), now, now)
        active = decides is not None and decides.version == row.version
        entries.append(PackEntry(**{**row._mapping, "kind": PackKind(row.kind), "active": active}))
    return entries


def get_pack(transaction: Transaction, tenant_id: str, kind: PackKind, name: str, version: int) -> Mapping[str, Any]:
    """The document of one version. Raises PackUnknownError."""
    return get_version(transaction, tenant_id, kind, name, version).document


def get_version(transaction: Transaction, tenant_id: str, kind: PackKind, name: str, version: int) -> PackVersion:
    """One version. Raises PackUnknownError."""
    rows = transaction.rows(statements.GET, {"tenant": tenant_id, "kind": kind, "name": name, "version": version})
    if not rows:
        raise PackUnknownError(kind, name, version)
    return PackVersion(**rows[0]._mapping)


def newest_version(transaction: Transaction, tenant_id: str, kind: PackKind, name: str) -> int | None:
    """The number of the newest version; None: there is no such pack."""
    version: int | None = transaction.rows(statements.NEWEST, {"tenant": tenant_id, "kind": kind, "name": name})[
        0
    ].version
    return version


def lock_pack(transaction: Transaction, tenant_id: str, kind: PackKind, name: str) -> None:
    """Nobody else adds a version or an activation to this pack until the transaction ends."""
    transaction.rows(statements.LOCK_NAME, {"tenant": tenant_id, "kind": kind, "name": name})


def database_now(transaction: Transaction) -> datetime:
    """The database's clock, which all processes share."""
    now: datetime = transaction.rows("SELECT clock_timestamp() AS now")[0].now
    return now


def _active(transaction: Transaction, tenant_id: str, kind: PackKind, name: str) -> int | None:
    now = database_now(transaction)
    schedule = StoredPacks().schedules(transaction, [tenant_id]).get(tenant_id, Schedule())
    decides = in_force(schedule.of(kind, name), now, now)
    return None if decides is None else decides.version


class StoredPacks:
    """Where the engine gets pack documents from, and which of them decide."""

    def schedules(self, transaction: Transaction, tenants: Iterable[str]) -> dict[str, Schedule]:
        """What may be in force, by tenant, in one query; a tenant without any activation is not in the answer."""
        found: dict[str, dict[tuple[str, str], list[Activation]]] = {}
        for row in transaction.rows(statements.STANDING, {"tenants": sorted(set(tenants))}):
            activation = Activation(row.number, row.version, row.effective_at, row.immediate, row.domain_name)
            found.setdefault(row.tenant_id, {}).setdefault((row.kind, row.name), []).append(activation)
        return {
            tenant_id: Schedule(
                tenant=standing(packs.get((PackKind.TENANT, TENANT_PACK), ())),
                domains={name: standing(ones) for (kind, name), ones in packs.items() if kind == PackKind.DOMAIN},
            )
            for tenant_id, packs in found.items()
        }

    def documents(
        self, transaction: Transaction, tenant_id: str, versions: PackVersions
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The domain and the tenant document of given versions. Raises PackUnknownError."""
        rows = transaction.rows(
            statements.DOCUMENTS,
            {"tenant": tenant_id, "domain_version": versions.domain, "tenant_version": versions.tenant},
        )
        if not rows:
            raise PackUnknownError(PackKind.TENANT, TENANT_PACK, versions.tenant)
        return rows[0].domain_document, rows[0].tenant_document
