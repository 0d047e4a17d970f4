"""Tenants of a test's own: unique, with example packs, and a key for each role."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine

from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import unit_of_work

PACKS = Path(__file__).resolve().parents[1] / "examples" / "packs"

SAMPLES: Mapping[str, Mapping[str, Any]] = json.loads((PACKS / "samples.json").read_bytes())
"""Bodies for POST /exceptions that the TradeOperations pack answers in a known way."""


@dataclass(frozen=True)
class TestTenant:
    """A tenant and its keys."""

    __test__ = False

    tenant_id: str
    key: str
    """An admin key."""


def new_tenant(
    system: Engine,
    domain_pack: str = "TradeOperations",
    adjust: Callable[[dict[str, Any]], None] = lambda _pack: None,
    adjust_tenant: Callable[[dict[str, Any]], object] = lambda _pack: None,
    tenant_id: str | None = None,
) -> TestTenant:
    """Create a tenant with the example packs; `adjust` may change the domain pack first, `adjust_tenant` the tenant's.

    `system` acts as SYSTEM.
    """
    tenant_id = tenant_id or f"test-{uuid4().hex[:12]}"
    key = key_of(secrets.token_bytes(32))
    domain = json.loads((PACKS / f"{domain_pack}.domain.json").read_bytes())
    adjust(domain)
    with unit_of_work(system) as transaction:
        create_tenant(transaction, tenant_id, "a test's tenant")
        create_key(transaction, tenant_id, "admin", "test", key=key, key_id=uuid4())
        tenant = _tenant_pack(domain_pack, tenant_id)
        adjust_tenant(tenant)
        for kind, name, document in ((PackKind.DOMAIN, domain_pack, domain), (PackKind.TENANT, TENANT_PACK, tenant)):
            stored = put_pack(transaction, tenant_id, kind, name, document, by="test")
            activate_pack(transaction, tenant_id, kind, name, stored.version, datetime.now(UTC))
    return TestTenant(tenant_id, key)


def sample(name: str, **payload: Any) -> dict[str, Any]:
    """A sample body, with changes to its payload."""
    body = copy.deepcopy(dict(SAMPLES[name]))
    body["rawPayload"] = {**body["rawPayload"], **payload}
    return body


def _tenant_pack(domain_pack: str, tenant_id: str) -> dict[str, Any]:
    for path in PACKS.glob("*.tenant.json"):
        document: dict[str, Any] = json.loads(path.read_bytes())
        if document["domainName"] == domain_pack:
            return {**document, "tenantId": tenant_id}
    raise LookupError(domain_pack)
