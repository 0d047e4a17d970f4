"""What callers send to report exceptions, and what a batch is answered, as pydantic models."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from service.api.bodies import In, Out
from service.api.fields import Moment, Name
from service.api.problem_schemas import Problem
from service.domain.exceptions import Severity

LARGEST_BATCH = 1000


class NewException(In):
    """An exception as a business system reports it."""

    source_system: Name = Field(description="The system that reports it.")
    raw_payload: dict[str, Any] = Field(description="Whatever the source knows about it.")
    exception_type: Name | None = Field(default=None, description="As the source calls it; intake normalises it.")
    occurred_at: Moment | None = Field(default=None, description="When it happened. Default: when it was received.")
    external_id: Name | None = Field(
        default=None, description="The source's own id of it: the same id of the same source is taken once."
    )
    severity: Severity | None = Field(default=None, description="A hint; the tenant's rules decide.")
    entity: Name | None = Field(default=None, description="The domain pack's entity that the payload describes.")
    tenant_id: str | None = Field(default=None, description="If given, it must be the API key's tenant.")


class Batch(In):
    """Up to 1,000 exceptions; each stands alone."""

    items: list[NewException] = Field(max_length=LARGEST_BATCH)


class BatchItem(Out):
    """What became of one item: one of the two."""

    index: int
    exception_id: UUID | None = None
    problem: Problem | None = None


class BatchAnswer(Out):
    """What became of a batch."""

    accepted: int
    rejected: int
    items: list[BatchItem]
