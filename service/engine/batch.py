"""A batch: what a stage task carries. References only; everything else is in the rows they name.

A batch of one and a batch of five hundred are the same thing. On the wire it is a JSON object, and its
description is what Flower shows as the task's arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.domain.retries import Tries
from service.engine.suspicion import Suspicion
from service.errors import PoisonError

_TENANTS_DESCRIBED = 3


class BatchUnreadableError(PoisonError):
    """A stage task's argument is not a batch."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"this message is not a batch of references ({cause}); was it sent by another application?")


@dataclass(frozen=True, slots=True)
class Reference:
    """One exception in a batch: which one, the input being worked, and how often this stage has failed on it."""

    tenant_id: str
    exception_id: UUID
    sequence: int
    attempt: int = 0
    rate_limited: int = 0
    """How many of these failures were somebody's rate limit."""

    @property
    def tries(self) -> Tries:
        """The failures before, as retry policies count them."""
        return Tries(self.attempt, self.rate_limited)


@dataclass(frozen=True, slots=True)
class Batch:
    """References that travel together. `lane` and `batch_id` are None for one split off to be retried alone."""

    references: tuple[Reference, ...]
    lane: int | None = None
    batch_id: str | None = None
    suspicion: Suspicion | None = None
    """For what was divided because its delivery did not survive this stage."""

    def tenants(self) -> list[str]:
        """The tenants whose rows a stage may touch for this batch, sorted."""
        return sorted({reference.tenant_id for reference in self.references})

    def of(self, references: Sequence[Reference]) -> Batch:
        """The same batch with other references."""
        return Batch(tuple(references), self.lane, self.batch_id, self.suspicion)

    def onward(self, survivors: Sequence[Reference]) -> Batch:
        """What goes on to the next stage, of which nothing is suspected there."""
        return Batch(tuple(survivors), self.lane, self.batch_id)

    @staticmethod
    def single(reference: Reference, suspicion: Suspicion | None = None) -> Batch:
        """A batch of one, worked on its own."""
        return Batch((reference,), suspicion=suspicion)


def to_message(batch: Batch) -> dict[str, Any]:
    """The JSON-ready form that a task carries."""
    references = [
        [r.tenant_id, str(r.exception_id), r.sequence, r.attempt, *((r.rate_limited,) if r.rate_limited else ())]
        for r in batch.references
    ]
    message = {"lane": batch.lane, "batch": batch.batch_id, "references": references}
    return message if batch.suspicion is None else message | {"suspicion": batch.suspicion.to_json()}


def from_message(message: Mapping[str, Any]) -> Batch:
    """The batch that `to_message` wrote. Raises BatchUnreadableError for anything else."""
    try:
        references = tuple(
            Reference(tenant, UUID(exception_id), sequence, attempt, *limited)
            for tenant, exception_id, sequence, attempt, *limited in message["references"]
        )
        suspected = message.get("suspicion")
        suspicion = None if suspected is None else Suspicion.from_json(suspected)
        return Batch(references, message["lane"], message["batch"], suspicion)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BatchUnreadableError(f"{type(error).__name__}: {error}") from error


def describe(batch: Batch) -> str:
    """One line for people: how many exceptions, of which tenants, in which lane."""
    tenants = batch.tenants()
    shown = ", ".join(tenants[:_TENANTS_DESCRIBED])
    if len(tenants) > _TENANTS_DESCRIBED:
        shown += f" and {len(tenants) - _TENANTS_DESCRIBED} more"
    suspected = "" if batch.suspicion is None else ", suspected"
    if batch.lane is None and len(batch.references) == 1:
        reference = batch.references[0]
        return f"exception {reference.exception_id} of {shown}, attempt {reference.attempt + 1}{suspected}"
    count = len(batch.references)
    where = "" if batch.lane is None else f"lane {batch.lane}, "
    return f"{count} exception{'' if count == 1 else 's'}, {where}{shown}{suspected}"
