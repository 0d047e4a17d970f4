"""What the OpenAPI document tells of one call."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from service.api import problems

OF_BODIES = (problems.NOT_JSON, problems.TOO_LARGE, problems.UNSUPPORTED_MEDIA_TYPE, problems.INVALID)
"""How a call that takes a body may be refused."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation."""

    name: str
    summary: str
    status: int
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    body_needed: bool = True
    media_types: tuple[str, ...] = ("application/json",)
    query: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    refusals: tuple[problems.Kind, ...] = ()
    open: bool = False
