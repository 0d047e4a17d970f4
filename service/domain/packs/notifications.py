"""Notification policies as packs write them: whom to tell about which events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from service.domain.events import EventType
from service.domain.packs.parts import Part, SeverityName

EventName = Annotated[EventType, Field(strict=False)]


class NotificationPolicy(Part):
    """Tell somebody whenever one of these events happens to an exception of these severities."""

    on: list[EventName] = Field(min_length=1)
    """Names of events, like ExceptionEscalated."""
    severities: list[SeverityName] | None = Field(default=None, min_length=1)
    """Only for exceptions of these severities; absent: of all."""
    channel: Literal["webhook", "email"]
    params: dict[str, Any] = Field(default_factory=dict)
    """What the channel needs, as in a notify step: where to, subject, text."""
