"""Kill switches: what is paused, by whom and why, and which work that stops. Pure.

A pause never loses anything: work that it stops waits, what is accepted meanwhile is kept, and both go on when it is
over. It ends when somebody resumes it, or by itself at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service.domain.exceptions import Stage


class Scope(StrEnum):
    """What a pause stops."""

    TENANT = "tenant"
    """Everything of a tenant: nothing is dispatched, no stage begins, no tool is called."""
    TOOL = "tool"
    """Calls of a tool, one tenant's or every tenant's."""
    STAGE = "stage"
    """A stage, for one tenant or for every tenant."""
    DISPATCH = "dispatch"
    """Taking work out of the outbox, as a whole: a drain. What is under way goes on."""


HELD_PREFIX = "paused: "
"""What the reason of work begins with that a pause stopped."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A kill switch that somebody has thrown."""

    pause_id: UUID
    scope: Scope
    tenant_id: str | None
    """None: every tenant's."""
    tool: str | None
    stage: Stage | None
    reason: str
    until: datetime | None
    by_platform: bool
    """Whether the installation's people did it; a tenant's cannot end it then."""
    paused_at: datetime
    paused_by: str
    resumed_at: datetime | None = None
    resumed_by: str | None = None
    resume_reason: str | None = None

    @property
    def what(self) -> str:
        """What is paused, for people."""
        whose = "" if self.tenant_id is None else f" of tenant {self.tenant_id}"
        match self.scope:
            case Scope.TENANT:
                return f"tenant {self.tenant_id}"
            case Scope.TOOL:
                return f"tool {self.tool!r}{whose}"
            case Scope.STAGE:
                return f"stage {self.stage.queue if self.stage is not None else ''}{whose}"
            case Scope.DISPATCH:
                return "dispatching"

    @property
    def sentence(self) -> str:
        """Why work waits: for the timeline and the API, which a tenant's people read."""
        who = "the platform" if self.by_platform else self.paused_by
        return f"{HELD_PREFIX}{self.what}, by {who}: {self.reason}"


class PausesInForce:
    """The pauses of one moment, asked by those whose work they may stop."""

    __slots__ = ("_calls", "_stages", "_tenants", "dispatching", "pauses")

    def __init__(self, pauses: Iterable[Pause] = ()) -> None:
        self.pauses = tuple(pauses)
        self._tenants: dict[str, Pause] = {}
        self._calls: dict[tuple[str | None, str], Pause] = {}
        self._stages: dict[tuple[str | None, int], Pause] = {}
        self.dispatching: Pause | None = None
        for pause in self.pauses:
            if pause.scope is Scope.TENANT and pause.tenant_id is not None:
                self._tenants.setdefault(pause.tenant_id, pause)
            elif pause.scope is Scope.TOOL and pause.tool is not None:
                self._calls.setdefault((pause.tenant_id, pause.tool), pause)
            elif pause.scope is Scope.STAGE and pause.stage is not None:
                self._stages.setdefault((pause.tenant_id, int(pause.stage)), pause)
            elif pause.scope is Scope.DISPATCH:
                self.dispatching = self.dispatching or pause

    def __bool__(self) -> bool:
        return bool(self.pauses)

    def of_work(self, tenant_id: str, stage: int) -> Pause | None:
        """What keeps a tenant's exceptions from being worked at a stage."""
        return (
            self._tenants.get(tenant_id)
            or self._stages.get((None, int(stage)))
            or self._stages.get((tenant_id, int(stage)))
        )

    def of_call(self, tenant_id: str, tool: str) -> Pause | None:
        """What keeps a call from going out: of its tool, its tenant, or the tool stage."""
        return (
            self._calls.get((tenant_id, tool)) or self._calls.get((None, tool)) or self.of_work(tenant_id, Stage.TOOL)
        )

    @property
    def tenants(self) -> list[str]:
        """The tenants of which everything is paused."""
        return sorted(self._tenants)

    @property
    def stages(self) -> list[int]:
        """The stages that are paused for every tenant."""
        return sorted(stage for tenant, stage in self._stages if tenant is None)

    @property
    def stages_of_tenants(self) -> list[tuple[str, int]]:
        """Tenant and stage of what is paused for one tenant only."""
        return sorted((tenant, stage) for tenant, stage in self._stages if tenant is not None)


NOTHING_PAUSED = PausesInForce()
