"""What callers send and get to see an unredacted payload, as pydantic models."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from service.api.bodies import In, Out
from service.api.fields import Note


class PayloadReading(In):
    """Why somebody has to see the unredacted payload."""

    reason: Note = Field(description="Kept on the timeline, with sensitive values of the payload masked.")


class UnredactedPayload(Out):
    """The payload as it came. That it was read is on the timeline."""

    exception_id: UUID
    raw_payload: dict[str, Any]
