"""Carries the rounds out: work comes in, the worker is killed at the round's moment, and a new one goes on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psutil
from sqlalchemy import Engine

from service.persistence.administration import create_key, create_tenant, key_of
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, put_pack
from service.persistence.unit_of_work import unit_of_work
from tests.chaos.effects.pack import DOMAIN, body, domain_pack, tenant_pack
from tests.chaos.effects.plan import Round
from tests.chaos.effects.witness import IDEMPOTENT_TOOL, SEEN_BY_WITNESS, TOOL, Moment, Witness
from tests.client import ApiClient, wait_for
from tests.fleet import Fleet
from tests.integration.verdicts import lost
from tests.tenants import TestTenant

_STRIKE_SECONDS = 60.0
_SETTLE_SECONDS = 150.0

_SHOWS = {
    Moment.BEFORE_SENT: "SELECT FROM exceptions WHERE exception_id = ANY(%(ids)s::uuid[]) AND stage >= 4",
    Moment.SENT: "SELECT FROM tool_executions WHERE exception_id = ANY(%(ids)s::uuid[]) AND attempt > 0",
    Moment.CONFIRMED: "SELECT FROM tool_executions WHERE exception_id = ANY(%(ids)s::uuid[]) AND state = 'confirmed'",
}
"""What the database shows once a moment has come that the witness cannot see."""


class Conductor:
    """One tenant's exceptions, and a fleet whose worker is killed again and again."""

    def __init__(self, fleet: Fleet, system: Engine, witness: Witness, say: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._system = system
        self._witness = witness
        self._say = say
        self.tenant = _tenant(system, witness.url)
        self.client = ApiClient(fleet.api_url, self.tenant.key)
        self.accepted: list[str] = []

    def run(self, plan: Iterable[Round]) -> None:
        """Every round, then wait until nothing is under way."""
        for one in plan:
            began = time.monotonic()
            self._round(one)
            who = "worker" if one.whole_worker else "pool"
            self._say(f"round {one.number + 1}: {who} killed when {one.moment} ({time.monotonic() - began:.1f} s)")
        self._witness.disarm()
        self.settle()

    def settle(self) -> None:
        """Wait until every accepted exception rests."""
        self._fleet.wait_ready()
        wait_for(lambda: not self._under_way(), _SETTLE_SECONDS, lambda: f"still under way: {self._under_way()}")

    def _round(self, one: Round) -> None:
        self._fleet.wait_ready()
        if one.moment in SEEN_BY_WITNESS:
            self._witness.arm(one.moment, lambda: self._strike(one))
        tools = [IDEMPOTENT_TOOL] * one.idempotent + [TOOL] * one.others
        ids = self.client.post_batch([body(tool, one.filler) for tool in tools])
        self.accepted += ids
        if one.moment in SEEN_BY_WITNESS:
            assert self._witness.struck.wait(_STRIKE_SECONDS), f"no call came to where {one.moment}"
        else:
            wait_for(lambda: self._shows(one.moment, ids), _STRIKE_SECONDS, lambda: f"not seen: {one.moment}")
            self._strike(one)
        if one.whole_worker:
            self._fleet.start("worker")

    def _strike(self, one: Round) -> None:
        worker = self._fleet.alive("worker")[0]
        if one.whole_worker:
            worker.kill()
            return
        for child in psutil.Process(worker.popen.pid).children():
            child.kill()

    def _shows(self, moment: Moment, ids: list[str]) -> bool:
        with unit_of_work(self._system) as transaction:
            return bool(transaction.rows(_SHOWS[moment] + " LIMIT 1", {"ids": ids}))

    def _under_way(self) -> list[Any]:
        with unit_of_work(self._system) as transaction:
            return list(lost(transaction, self.accepted))


def _tenant(system: Engine, witness_url: str) -> TestTenant:
    tenant_id, key = f"chaos-{uuid4().hex[:12]}", key_of(secrets.token_bytes(32))
    domain = (PackKind.DOMAIN, DOMAIN, domain_pack(witness_url))
    tenant = (PackKind.TENANT, TENANT_PACK, tenant_pack(tenant_id))
    with unit_of_work(system) as transaction:
        create_tenant(transaction, tenant_id, "effects under fire")
        create_key(transaction, tenant_id, "admin", "chaos", key=key, key_id=uuid4())
        for kind, name, document in (domain, tenant):
            stored = put_pack(transaction, tenant_id, kind, name, document, by="chaos")
            activate_pack(transaction, tenant_id, kind, name, stored.version, datetime.now(UTC))
    return TestTenant(tenant_id, key)
