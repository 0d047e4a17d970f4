"""Which packs decide: the tenant's active ones for new work, the recorded versions for work under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from service.domain.exceptions import PackVersions
from service.domain.packs import PackSet
from service.errors import PermanentError
from service.persistence.unit_of_work import Transaction

_KEPT_VERSIONS = 256


class NoActivePackError(PermanentError):
    """A tenant's exceptions arrived before its packs."""

    def __init__(self, tenant_id: str) -> None:
        super().__init__(
            f"tenant {tenant_id!r} has no active domain and tenant pack that can be used; "
            "load them with `sentinai packs load`, then redrive"
        )


class PackDocuments(Protocol):
    """Where pack documents come from; `service.persistence.packs` is the real one."""

    def active_versions(self, transaction: Transaction, tenants: Iterable[str]) -> Mapping[str, PackVersions]: ...

    def documents(
        self, transaction: Transaction, tenant_id: str, versions: PackVersions
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]: ...


BuildPackSet = Callable[[Mapping[str, Any], Mapping[str, Any], PackVersions], PackSet]
"""Compiles a domain and a tenant document of given versions."""


class PackSource:
    """Compiled packs, kept by version; which version is active is looked up again after `ttl_seconds`."""

    def __init__(
        self,
        documents: PackDocuments,
        build: BuildPackSet,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._build = build
        self._ttl = ttl_seconds
        self._clock = clock
        self._active: dict[str, tuple[float, PackVersions]] = {}
        self._compiled: dict[tuple[str, PackVersions], PackSet] = {}

    def active(self, transaction: Transaction, tenants: Iterable[str]) -> dict[str, PackSet]:
        """The active packs of each tenant that has some, in one statement for those not looked up lately."""
        now = self._clock()
        wanted = set(tenants)
        unknown = sorted(t for t in wanted if t not in self._active or self._active[t][0] <= now)
        if unknown:
            for tenant_id in unknown:
                self._active.pop(tenant_id, None)
            for tenant_id, versions in self._documents.active_versions(transaction, unknown).items():
                self._active[tenant_id] = (now + self._ttl, versions)
        found = {}
        for tenant_id in wanted & self._active.keys():
            found[tenant_id] = self.at(transaction, tenant_id, self._active[tenant_id][1])
        return found

    def at(self, transaction: Transaction, tenant_id: str, versions: PackVersions) -> PackSet:
        """The packs of these versions, compiled once per process."""
        key = (tenant_id, versions)
        if key not in self._compiled:
            if len(self._compiled) >= _KEPT_VERSIONS:
                self._compiled.pop(next(iter(self._compiled)))
            domain, tenant = self._documents.documents(transaction, tenant_id, versions)
            self._compiled[key] = self._build(domain, tenant, versions)
        return self._compiled[key]
