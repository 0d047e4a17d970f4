"""The tenants of a round: new ones for each, so that a round is judged by what is its own."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from uuid import uuid4

from sqlalchemy import Engine

from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import unit_of_work
from tests.chaos.pipeline.kinds import DOMAIN, domain_pack, tenant_pack
from tests.tenants import TestTenant


def open_desk(system: Engine) -> TestTenant:
    """A tenant with the packs of the load. Its key's name is its own, so that an input tells whose key it came with."""
    tenant_id, key = f"chaos-{uuid4().hex[:12]}", key_of(secrets.token_bytes(32))
    with unit_of_work(system) as transaction:
        create_tenant(transaction, tenant_id, "a desk under fire")
        create_key(transaction, tenant_id, "admin", f"desk of {tenant_id}", key=key, key_id=uuid4())
        for kind, name, document in (
            (PackKind.DOMAIN, DOMAIN, domain_pack()),
            (PackKind.TENANT, TENANT_PACK, tenant_pack(tenant_id)),
        ):
            stored = put_pack(transaction, tenant_id, kind, name, document, by="chaos")
            activate_pack(transaction, tenant_id, kind, name, stored.version, datetime.now(UTC))
    return TestTenant(tenant_id, key)
