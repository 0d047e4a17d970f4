"""What a process tells of whether it can serve, as a pydantic model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.api.bodies import Out


class Readiness(Out):
    """What a process needs, and what it can do without for a while."""

    status: Literal["ready", "degraded"]
    checks: dict[str, str] = Field(description="`ok`, or what is missing.")
