"""Dead letters on a real database, and people who send them again or discard them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from service.domain.exceptions import PackChoice, Stage
from service.domain.redriving import Wish
from service.engine.batch import Batch, Reference
from service.engine.course import Flight
from service.engine.redriving import Result, discard, redrive
from service.persistence.packs import PackKind, activate_pack, get_pack, list_packs, put_pack
from service.persistence.redriving import Act
from service.persistence.unit_of_work import unit_of_work
from service.tools.calls import Answer, ToolResult
from tests.integration.engine.plans import World, confirmed

DECIDING = (Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK)


@dataclass
class Tools:
    """A script whose steps are refused as long as the test says so."""

    refusing: set[str] = field(default_factory=set)
    """Paths of steps."""
    unanswered: set[str] = field(default_factory=set)

    def __call__(self, flight: Flight, _times: int) -> ToolResult:
        if flight.step.path in self.refusing:
            return ToolResult(flight.key, Answer.PERMANENT, error="the tool refused the item (NO_SUCH_ACCOUNT)")
        if flight.step.path in self.unanswered:
            return ToolResult(flight.key, Answer.UNANSWERED, error="no answer")
        return confirmed(flight)


def letter_of(world: World, reference: Reference) -> Any:
    """The dead letter of an input."""
    statement = "SELECT * FROM dead_letters WHERE {own} AND sequence = %(sequence)s"
    return world.rows(statement, reference, sequence=reference.sequence)[0]


def sent_again(
    world: World,
    reference: Reference,
    from_stage: Stage | None = None,
    packs: PackChoice = PackChoice.RECORDED,
) -> Result:
    """A person redrives an input's dead letter."""
    ids = [letter_of(world, reference).dead_letter_id]
    act = Act("ann", "the account exists now")
    with unit_of_work(world.application, [world.tenant.tenant_id]) as transaction:
        (result,) = redrive(transaction, world.tenant.tenant_id, ids, Wish(from_stage, packs), act, world.now)
    return result


def discarded(world: World, reference: Reference) -> Result:
    """A person discards an input's dead letter."""
    ids: Sequence[UUID] = [letter_of(world, reference).dead_letter_id]
    with unit_of_work(world.application, [world.tenant.tenant_id]) as transaction:
        (result,) = discard(transaction, world.tenant.tenant_id, ids, Act("ann", "a duplicate"), world.now)
    return result


def outbox(world: World, reference: Reference) -> list[tuple[int, int, bool]]:
    """(sequence, stage, ready) of what waits in the outbox for an exception."""
    rows = world.rows("SELECT sequence, stage, ready FROM outbox WHERE {own} ORDER BY sequence", reference)
    return [tuple(row) for row in rows]


def worked(world: World, reference: Reference) -> str:
    """Take what is ready of an exception out of the outbox and work it through the stages; where it is then."""
    statement = """DELETE FROM outbox WHERE exception_id = %(id)s AND ready RETURNING sequence, stage"""
    with unit_of_work(world.application, [world.tenant.tenant_id]) as transaction:
        rows = transaction.rows(statement, {"id": str(reference.exception_id)})
    for sequence, stage in rows:
        current = Reference(reference.tenant_id, reference.exception_id, sequence)
        for deciding in DECIDING:
            if deciding >= stage:
                world.decide(deciding, Batch.single(current))
        world.delivered(current)
    return world.status(reference)


def activate(world: World, change: Mapping[str, Any]) -> None:
    """Put another version of the tenant's domain pack in force, with some of its keys changed."""
    with unit_of_work(world.system) as transaction:
        (active,) = [one for one in list_packs(transaction, world.tenant.tenant_id, PackKind.DOMAIN) if one.active]
        key = (world.tenant.tenant_id, PackKind.DOMAIN, active.name)
        document = {**get_pack(transaction, *key, active.version), **change}
        stored = put_pack(transaction, *key, document, by="test")
        activate_pack(transaction, *key, stored.version, world.now)
