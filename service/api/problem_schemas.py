"""How a refusal is told, as pydantic models. Which kinds there are is for problems."""

from __future__ import annotations

from pydantic import Field

from service.api.bodies import Out


class Fault(Out):
    """One thing that is wrong, and where."""

    path: str = Field(description="Like `items[3].rawPayload.amount`; empty for the body itself.")
    message: str
    line: int | None = Field(default=None, description="Of a pack: the line of the text that was sent, from 1.")


class Problem(Out):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault]
    instance: str | None = None
    request_id: str | None = None
