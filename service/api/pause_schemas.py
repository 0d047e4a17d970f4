"""What callers send and get about pauses, as pydantic models; the command line prints the same."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from service.api.bodies import In, Out
from service.api.fields import Moment, Name
from service.domain.pauses import Pause

Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"\S")]


class NewPause(In):
    """What of the tenant's own is to stop, and why."""

    scope: Literal["tenant", "tool"] = Field(description="Everything of the tenant, or the calls of one tool.")
    tool: Name | None = Field(default=None, description="Its name, with scope `tool`.")
    reason: Reason = Field(description="Shown where work waits for it.")
    until: Moment | None = Field(default=None, description="When it ends by itself. Default: when somebody resumes it.")

    @model_validator(mode="after")
    def _fits(self) -> NewPause:
        if (self.tool is not None) != (self.scope == "tool"):
            raise PydanticCustomError("scope_fits", "name a tool with scope `tool`, and only then")
        return self


class Resumption(In):
    """Why it goes on."""

    reason: Reason | None = None


class PauseShown(Out):
    """A kill switch that somebody threw."""

    pause_id: UUID
    scope: Literal["tenant", "tool", "stage", "dispatch"]
    tenant_id: str | None = Field(description="Null: for every tenant, which only the platform can do.")
    tool: str | None
    stage: str | None
    reason: str
    until: datetime | None
    by_platform: bool = Field(description="The platform's people did it, and only they can end it.")
    paused_at: datetime
    paused_by: str
    resumed_at: datetime | None
    resumed_by: str | None
    resume_reason: str | None


class PauseList(Out):
    """Pauses, the newest first."""

    items: list[PauseShown]
    next_cursor: str | None


def shown(pause: Pause, *, to_tenant: bool) -> PauseShown:
    """A pause as a tenant's people, or the platform's, see it: a tenant does not see who works for the platform."""
    hidden = to_tenant and pause.by_platform
    return PauseShown(
        pause_id=pause.pause_id,
        scope=pause.scope.value,
        tenant_id=pause.tenant_id,
        tool=pause.tool,
        stage=None if pause.stage is None else pause.stage.queue,
        reason=pause.reason,
        until=pause.until,
        by_platform=pause.by_platform,
        paused_at=pause.paused_at,
        paused_by="the platform" if hidden else pause.paused_by,
        resumed_at=pause.resumed_at,
        resumed_by="the platform" if hidden and pause.resumed_by else pause.resumed_by,
        resume_reason=None if hidden else pause.resume_reason,
    )
