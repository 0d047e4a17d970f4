"""A tenant's schedule: of its packs' activations, those that may decide something now or later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.domain.exceptions import PackVersions
from service.domain.packs.deciding.activations import Activation, in_force
from service.domain.packs.reading.documents import PackKind


@dataclass(frozen=True, slots=True)
class Schedule:
    """A tenant's activations that may decide something now or later, as `activations.standing` orders them."""

    tenant: tuple[Activation, ...] = ()
    domains: Mapping[str, tuple[Activation, ...]] = field(default_factory=dict)
    """By domain."""

    def of(self, kind: PackKind, name: str) -> tuple[Activation, ...]:
        """The activations of one pack."""
        return self.tenant if kind is PackKind.TENANT else self.domains.get(name, ())

    def versions(self, received_at: datetime, now: datetime) -> PackVersions | None:
        """The pair that decides what was received at a moment; None: there is none."""
        tenant = in_force(self.tenant, received_at, now)
        domain = in_force(self.domains.get(tenant.domain_name or "", ()), received_at, now) if tenant else None
        return None if tenant is None or domain is None else PackVersions(domain.version, tenant.version)
