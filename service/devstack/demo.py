"""Demo tenants: example packs loaded and keys made, so that a new stack can be tried at once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from service.persistence.administration import create_key, create_tenant, find_caller, key_of, list_tenants
from service.persistence.database import Role, open_engine
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import Transaction, unit_of_work

EXAMPLES = Path("examples") / "packs"


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """A tenant, the packs it works by, and what it is called."""

    tenant_id: str
    name: str
    domain_pack: str


DEMO_TENANTS = (
    DemoTenant("DEMO_TRADING", "Demo trading desk", "TradeOperations"),
    DemoTenant("DEMO_CLAIMS", "Demo claims office", "ClaimsProcessing"),
    DemoTenant("TENANT_FINANCE_001", "Capital markets, manual playbooks", "CapitalMarketsTrading"),
)
"""The first one's pack answers the samples."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What a person or a script needs to try the stack."""

    tenants: Mapping[str, Mapping[str, str]]
    samples: Mapping[str, Any]


def seed_demo(database_url: str, project: Path, known: Mapping[str, Mapping[str, str]]) -> Demo:
    """Create what is missing of the demo tenants, load and activate their packs, and make their keys.

    `known` are the keys of an earlier start; one that still works is kept.
    """
    engine = open_engine(database_url, Role.SYSTEM, pool_size=1)
    try:
        with unit_of_work(engine) as transaction:
            present = {tenant.tenant_id for tenant in list_tenants(transaction)}
            tenants = {}
            for demo in DEMO_TENANTS:
                if demo.tenant_id not in present:
                    create_tenant(transaction, demo.tenant_id, demo.name)
                _load_packs(transaction, demo, project / EXAMPLES)
                key = _key(transaction, demo.tenant_id, known.get(demo.tenant_id, {}).get("api_key"))
                tenants[demo.tenant_id] = {"api_key": key}
    finally:
        engine.dispose()
    samples = orjson.loads((project / EXAMPLES / "samples.json").read_bytes())
    return Demo(tenants, samples)


def _load_packs(transaction: Transaction, demo: DemoTenant, folder: Path) -> None:
    domain = orjson.loads((folder / f"{demo.domain_pack}.domain.json").read_bytes())
    tenant = orjson.loads((folder / f"{demo.tenant_id}.tenant.json").read_bytes())
    for kind, name, document in (
        (PackKind.DOMAIN, demo.domain_pack, domain),
        (PackKind.TENANT, TENANT_PACK, tenant),
    ):
        stored = put_pack(transaction, demo.tenant_id, kind, name, document, by="demo")
        if not stored.active:
            activate_pack(transaction, demo.tenant_id, kind, name, stored.version, datetime.now(UTC))


def _key(transaction: Transaction, tenant_id: str, known: str | None) -> str:
    if known is not None and find_caller(transaction, known) is not None:
        return known
    key = key_of(secrets.token_bytes(32))
    create_key(transaction, tenant_id, "admin", "demo", key=key, key_id=uuid4())
    return key
