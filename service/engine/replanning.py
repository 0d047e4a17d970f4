"""What the stages that plan are told of inputs that were sent again: the plan from before, and what came of it.

Costs a batch without such inputs nothing but a look at its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from service.domain.exceptions import EarlierPlan, Stage
from service.domain.plans import Plan
from service.persistence.loading import LoadedException, PlanUnreadableError
from service.persistence.stages import Effect, StageRepository

_PLANNING = (Stage.POLICY, Stage.PLAYBOOK)


def with_earlier_plans(
    stage: Stage, repository: StageRepository, rows: Mapping[UUID, LoadedException]
) -> Mapping[UUID, LoadedException]:
    """Locked rows; those that were sent again with the plan that was made for the same input before."""
    if stage not in _PLANNING:
        return rows
    again = [key for key, row in rows.items() if row.record.redriven_with is not None]
    if not again:
        return rows
    effects = repository.effects(again)
    found = repository.load_redriven(again)
    return {**rows, **{key: _told(row, effects.get(key, {})) for key, row in found.items()}}


def _told(row: LoadedException, effects: Mapping[str, Effect]) -> LoadedException:
    record, plan, plan_id = row.record, row.record.plan, row.plan_id
    if plan_id is None or row.plan_sequence != record.sequence:
        return row
    if isinstance(row.fault, PlanUnreadableError):
        # Nothing of it can be gone on with; what it may have done stands in the ledger.
        row, plan = replace(row, fault=None), _UNREADABLE
    if plan is None:
        return row
    states = {effect.step: effect.state for effect in effects.values() if effect.plan_id == plan_id}
    return replace(row, record=replace(record, earlier=EarlierPlan(plan, plan_id, states)))


_UNREADABLE = Plan("unreadable", ())
