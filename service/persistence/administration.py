"""Tenants and API keys: created and revoked by administration, looked up by the API."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.errors import PermanentError
from service.persistence.statements import administration as statements
from service.persistence.unit_of_work import Transaction

_TENANT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEY_PREFIX = "snt_"
"""Marks a leaked key as ours, for people and for secret scanners."""


class TenantExistsError(PermanentError):
    """A tenant of this id is there already."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"tenant {tenant_id!r} exists already; choose another id, or go on with it")


class TenantIdError(PermanentError):
    """The id cannot be a tenant's."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"{tenant_id!r} cannot be a tenant's id: 1 to 64 letters, digits, '-' and '_' make one")


class TenantUnknownError(PermanentError):
    """There is no such tenant."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"there is no tenant {tenant_id!r}; `sentinai tenants list` shows those there are")


class KeyUnknownError(PermanentError):
    """There is no such API key."""

    def __init__(self, key_id: UUID) -> None:
        super().__init__(f"there is no API key {key_id}; `sentinai keys list` shows those there are")


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer of the installation."""

    tenant_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; the key itself is not stored."""

    key_id: UUID
    tenant_id: str
    role: str
    name: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a valid API key speaks for."""

    key_id: UUID
    tenant_id: str
    role: str
    name: str


def key_of(secret: bytes) -> str:
    """The API key made of random bytes (32), as it is shown once."""
    return KEY_PREFIX + secret.hex()


def key_hash(key: str) -> bytes:
    """What is stored of a key. A key is 256 random bits, so a plain hash is as good as a slow one."""
    return hashlib.sha256(key.encode()).digest()


def create_tenant(transaction: Transaction, tenant_id: str, name: str) -> Tenant:
    """Add a tenant. Raises TenantExistsError, TenantIdError."""
    if not _TENANT_ID.fullmatch(tenant_id):
        raise TenantIdError(tenant_id)
    rows = transaction.rows(statements.CREATE_TENANT, {"tenant": tenant_id, "name": name})
    if not rows:
        raise TenantExistsError(tenant_id)
    return Tenant(tenant_id, name, rows[0].created_at)


def list_tenants(transaction: Transaction) -> list[Tenant]:
    """All tenants the transaction sees."""
    return [Tenant(**row._mapping) for row in transaction.rows(statements.LIST_TENANTS)]


def require_tenant(transaction: Transaction, tenant_id: str) -> None:
    """Raise TenantUnknownError unless the tenant is there."""
    if not transaction.rows(statements.TENANT_EXISTS, {"tenant": tenant_id}):
        raise TenantUnknownError(tenant_id)


def create_key(transaction: Transaction, tenant_id: str, role: str, name: str, *, key: str, key_id: UUID) -> ApiKey:
    """Store the hash of a new key. Raises TenantUnknownError."""
    require_tenant(transaction, tenant_id)
    rows = transaction.rows(
        statements.CREATE_KEY,
        {"key_id": str(key_id), "tenant": tenant_id, "hash": key_hash(key), "role": role, "name": name},
    )
    return ApiKey(key_id, tenant_id, role, name, rows[0].created_at, None)


def list_keys(transaction: Transaction, tenant_id: str | None = None) -> list[ApiKey]:
    """The keys of a tenant, or of all; revoked ones too."""
    return [ApiKey(**row._mapping) for row in transaction.rows(statements.LIST_KEYS, {"tenant": tenant_id})]


def revoke_key(transaction: Transaction, key_id: UUID, now: datetime) -> ApiKey:
    """End a key; one that has ended already keeps its time. Raises KeyUnknownError."""
    rows = transaction.rows(statements.REVOKE_KEY, {"key_id": str(key_id), "now": now})
    if not rows:
        raise KeyUnknownError(key_id)
    return ApiKey(**rows[0]._mapping)


def find_caller(transaction: Transaction, key: str) -> Caller | None:
    """Who a key speaks for; None when it is unknown or revoked. Works before any tenant is declared."""
    digest = key_hash(key)
    transaction.rows(statements.SHOW_OWN_KEY, {"hash": digest.hex()})
    rows = transaction.rows(statements.FIND_KEY, {"hash": digest})
    return Caller(**rows[0]._mapping) if rows else None
