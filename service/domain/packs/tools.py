"""Tools as packs define them: what a playbook has to give, and how the call is made.

How each kind of tool is called is told in docs/tools.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from service.domain.packs.parts import Attribute, Endpoint, Part, PayloadPath


class HttpMethod(StrEnum):
    """How a tool is called."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    GET = "GET"
    DELETE = "DELETE"


class ToolSignature(Part):
    """What a playbook has to know of a tool in order to call it."""

    parameters: dict[str, Attribute] = Field(default_factory=dict)
    sensitiveFields: list[PayloadPath] = Field(default_factory=list)
    """Declared sensitive fields that this tool needs to read unmasked."""


class Tool(ToolSignature):
    """Something outside that playbooks may call."""

    description: str = ""
    endpoint: Endpoint
    method: Annotated[HttpMethod, Field(strict=False)] = HttpMethod.POST
    timeoutSeconds: float = Field(default=10.0, gt=0, le=300, allow_inf_nan=False)
    maxRetries: int = Field(default=3, ge=0, le=20)
    idempotent: bool = False
    """The tool itself ignores a repeated Idempotency-Key."""
    batchEndpoint: Endpoint | None = None
    """Takes `{items: [{idempotencyKey, parameters}]}` in one call and answers each item."""
