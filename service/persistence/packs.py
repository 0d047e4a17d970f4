"""Packs as stored: versioned documents, content-hashed, of which one of each name is active.

Documents are stored as they were given; whether they make sense is `service.domain.packs`' judgement, and
callers make it before they put one here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from service.domain.exceptions import PackVersions
from service.domain.packs.hashing import canonical_hash
from service.errors import PermanentError
from service.persistence.statements import packs as statements
from service.persistence.unit_of_work import Transaction, as_json

TENANT_PACK = "tenant"
"""The name under which a tenant's own pack is stored: it has one, whatever domain that names."""


class PackKind(StrEnum):
    """Whose behaviour a pack describes."""

    DOMAIN = "domain"
    TENANT = "tenant"


class PackUnknownError(PermanentError):
    """There is no such version of the pack."""

    def __init__(self, kind: PackKind, name: str, version: int) -> None:
        super().__init__(f"there is no version {version} of {kind} pack {name!r}; `sentinai packs list` shows them")


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
    created_at: datetime
    created_by: str
    activated_at: datetime | None


def put_pack(
    transaction: Transaction, tenant_id: str, kind: PackKind, name: str, document: Mapping[str, Any], by: str
) -> StoredVersion:
    """Store a document as the next version; the same content again is the version it already has."""
    key = {"tenant": tenant_id, "kind": kind, "name": name}
    content = {**key, "hash": canonical_hash(document)}
    transaction.rows(statements.LOCK_NAME, key)
    rows = transaction.rows(statements.FIND_CONTENT, content)
    if rows:
        return StoredVersion(rows[0].version, created=False, active=rows[0].active)
    rows = transaction.rows(statements.PUT, {**content, "document": as_json(document), "by": by})
    return StoredVersion(rows[0].version, created=True, active=False)


def activate_pack(
    transaction: Transaction, tenant_id: str, kind: PackKind, name: str, version: int, now: datetime
) -> None:
    """Make a version the one that new decisions are made with. Raises PackUnknownError."""
    key = {"tenant": tenant_id, "kind": kind, "name": name, "version": version, "now": now}
    transaction.rows(statements.LOCK_NAME, key)
    transaction.run(statements.DEACTIVATE, key)
    if transaction.run(statements.ACTIVATE, key) == 0:
        raise PackUnknownError(kind, name, version)


def list_packs(transaction: Transaction, tenant_id: str | None = None) -> list[PackEntry]:
    """Every version of every pack of a tenant, or of all tenants that the transaction sees."""
    rows = transaction.rows(statements.LIST, {"tenant": tenant_id})
    return [PackEntry(**{**row._mapping, "kind": PackKind(row.kind)}) for row in rows]


def get_pack(transaction: Transaction, tenant_id: str, kind: PackKind, name: str, version: int) -> Mapping[str, Any]:
    """The document of one version. Raises PackUnknownError."""
    rows = transaction.rows(statements.GET, {"tenant": tenant_id, "kind": kind, "name": name, "version": version})
    if not rows:
        raise PackUnknownError(kind, name, version)
    document: Mapping[str, Any] = rows[0].document
    return document


class StoredPacks:
    """Where the engine gets pack documents from."""

    def active_versions(self, transaction: Transaction, tenants: Iterable[str]) -> dict[str, PackVersions]:
        """The active versions by tenant, in one query; a tenant without both packs is not in the answer."""
        rows = transaction.rows(statements.ACTIVE_VERSIONS, {"tenants": sorted(set(tenants))})
        return {row.tenant_id: PackVersions(row.domain_version, row.tenant_version) for row in rows}

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
