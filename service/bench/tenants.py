"""Tenants of the bench's own: copies of the first demo tenant's packs, so that several share the pipeline."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from service.devstack.errors import StackError
from service.persistence.administration import create_key, create_tenant, key_of, list_tenants, revoke_key
from service.persistence.database import Role, open_engine
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, get_pack, list_packs, put_pack
from service.persistence.unit_of_work import Transaction, unit_of_work

_PREFIX = "BENCH_"


@dataclass(frozen=True, slots=True)
class BenchTenant:
    """A tenant and the key of this run."""

    tenant_id: str
    key: str
    key_id: UUID


@contextmanager
def bench_tenants(
    database_url: str,
    model: str,
    count: int,
    prefix: str = _PREFIX,
    adjust: Callable[[dict[str, Any]], None] = lambda _pack: None,
) -> Iterator[Sequence[BenchTenant]]:
    """Tenants BENCH_1 … that work by the model tenant's active packs; their keys end with the block.

    `adjust` may change the domain pack first; then the prefix has to be another, for packs stay as well.
    The tenants themselves stay, for what they accepted stays. Raises StackError when the model has no packs.
    """
    # Asked before it is used: the server may have been restarted between the beginning and the end.
    engine = open_engine(database_url, Role.SYSTEM, pool_size=1, tested=True)
    try:
        with unit_of_work(engine) as transaction:
            names = [f"{prefix}{number}" for number in range(1, count + 1)]
            tenants = [_make(transaction, name, model, adjust) for name in names]
        try:
            yield tenants
        finally:
            _revoke(engine, tenants)
    finally:
        engine.dispose()


def _make(
    transaction: Transaction, tenant_id: str, model: str, adjust: Callable[[dict[str, Any]], None]
) -> BenchTenant:
    if tenant_id not in {tenant.tenant_id for tenant in list_tenants(transaction)}:
        create_tenant(transaction, tenant_id, "Load test")
    active = [entry for entry in list_packs(transaction, model) if entry.active]
    if {entry.kind for entry in active} != {PackKind.DOMAIN, PackKind.TENANT}:
        raise StackError(f"tenant {model!r} has no active packs to copy; start the stack with --demo")
    for entry in active:
        document = dict(get_pack(transaction, model, entry.kind, entry.name, entry.version))
        if entry.name == TENANT_PACK and entry.kind is PackKind.TENANT:
            document["tenantId"] = tenant_id
        else:
            document = copy.deepcopy(document)
            adjust(document)
        stored = put_pack(transaction, tenant_id, entry.kind, entry.name, document, by="bench")
        if not stored.active:
            activate_pack(transaction, tenant_id, entry.kind, entry.name, stored.version, datetime.now(UTC))
    key, key_id = key_of(secrets.token_bytes(32)), uuid4()
    create_key(transaction, tenant_id, "ingest", "bench", key=key, key_id=key_id)
    return BenchTenant(tenant_id, key, key_id)


def _revoke(engine: Engine, tenants: Sequence[BenchTenant]) -> None:
    with unit_of_work(engine) as transaction:
        for tenant in tenants:
            revoke_key(transaction, tenant.key_id, datetime.now(UTC))
