"""Redrives of what people approve: an approval stays good for the plan that was approved, and for no other."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from service.domain.events import EventType
from service.domain.exceptions import InputType, PackChoice, Stage
from service.engine.batch import Reference
from service.persistence.approvals import Approvals, ApprovalState
from service.persistence.ingestion import Ingestion, NewInput
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, get_pack, list_packs, put_pack
from service.persistence.unit_of_work import unit_of_work
from service.wiring import new_id
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.dead_letters import Tools, letter_of, sent_again, worked
from tests.integration.engine.plans import ONCE, World, call
from tests.integration.verdicts import broken_promises

pytestmark = pytest.mark.stack

STEPS = [call(1, ONCE, "book"), call(2, ONCE, "settle")]


def needing_approval(system: Engine, found: World) -> None:
    """From now on a person has to approve whatever this tenant's plans do."""
    tenant = found.tenant.tenant_id
    with unit_of_work(system) as transaction:
        (active,) = [one for one in list_packs(transaction, tenant, PackKind.TENANT) if one.active]
        document = get_pack(transaction, tenant, PackKind.TENANT, TENANT_PACK, active.version)
        rules = [{"severity": severity, "requireApproval": True} for severity in ("LOW", "MEDIUM", "HIGH", "CRITICAL")]
        stored = put_pack(
            transaction, tenant, PackKind.TENANT, TENANT_PACK, {**document, "humanApprovalRules": rules}, by="test"
        )
        activate_pack(transaction, tenant, PackKind.TENANT, TENANT_PACK, stored.version, found.now)


def approved(found: World, reference: Reference) -> Reference:
    """A person approves what is asked for, as the API takes it."""
    with unit_of_work(found.application, [found.tenant.tenant_id]) as transaction:
        ingestion = Ingestion(transaction, found.tenant.tenant_id, found.now)
        locked = ingestion.lock(reference.exception_id)
        assert locked is not None
        approvals = Approvals(transaction, found.tenant.tenant_id, found.now)
        pending = approvals.pending(reference.exception_id)
        assert pending is not None
        approvals.give(pending, new_id(), "ann", "fine")
        approvals.decide(reference.exception_id, ApprovalState.APPROVED, "ann", "fine")
        data: dict[str, Any] = {"comment": "fine", "planHash": pending.plan_hash}
        sequence = ingestion.append(
            locked, NewInput(InputType.APPROVED, data, EventType.APPROVAL_GRANTED, {"by": "ann"}, "ann")
        )
    return Reference(reference.tenant_id, reference.exception_id, sequence)


@pytest.mark.parametrize("stage", [None, Stage.POLICY, Stage.PLAYBOOK])
def test_an_approved_plan_goes_on_from_where_it_is(world: MakeWorld, system: Engine, stage: Stage | None) -> None:
    # given an approved plan whose first call has happened and whose second was refused
    tools = Tools({"2"})
    found = world(STEPS, script=tools)
    needing_approval(system, found)
    reference = found.planned()
    assert found.status(reference) == "PENDING_APPROVAL"
    approval = approved(found, reference)
    assert worked(found, reference) == "DEAD_LETTERED"
    # when the approval is sent again, from wherever it may
    tools.refusing.clear()
    assert sent_again(found, approval, stage).done
    # then nobody is asked once more, and the first call is not made a second time
    assert worked(found, approval) == "RESOLVED"
    assert len(found.worked) == len(set(found.worked)) == 2
    assert len(found.events("ApprovalRequested")) == 1
    with unit_of_work(system) as transaction:
        assert broken_promises(transaction, found.tenant.tenant_id) == {}


def test_active_packs_that_want_an_approval_ask_for_the_plan_under_way(world: MakeWorld, system: Engine) -> None:
    # given a plan that nobody had to approve, whose first call has happened
    tools = Tools({"2"})
    found = world(STEPS, script=tools)
    reference = found.planned()
    found.delivered(reference)
    assert found.status(reference) == "DEAD_LETTERED"
    # when the packs in force want an approval by now
    needing_approval(system, found)
    tools.refusing.clear()
    sent_again(found, reference, packs=PackChoice.ACTIVE)
    assert worked(found, reference) == "PENDING_APPROVAL"
    assert len(found.worked) == 1
    # and a person gives it
    approval = approved(found, reference)
    # then the same plan goes on, and the first call is not made a second time
    assert worked(found, approval) == "RESOLVED"
    assert len(found.worked) == len(set(found.worked)) == 2
    assert len(found.rows("SELECT plan_id FROM plans WHERE {own}", reference)) == 1


def test_an_approval_goes_by_the_packs_of_its_exception(world: MakeWorld, system: Engine) -> None:
    tools = Tools({"1"})
    found = world(STEPS, script=tools)
    needing_approval(system, found)
    reference = found.planned()
    approval = approved(found, reference)
    assert worked(found, reference) == "DEAD_LETTERED"
    refused = sent_again(found, approval, packs=PackChoice.ACTIVE)
    assert not refused.done
    assert "goes by the packs of its exception" in str(refused.why_not)
    assert letter_of(found, approval).state == "pending"
