"""Statements that load a batch for a stage: one round trip for all of it, in id order where it is locked.

What they return is read by place (`service.persistence.loading`), so the order of the columns is part of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.exceptions import Stage
from service.persistence.statements.approvals import APPROVAL_COLUMNS, APPROVAL_JOIN

_LOAD = """
-- Locks the batch's rows in id order, so that workers holding overlapping batches (a redelivery after a
-- rebalance) queue up behind one another instead of deadlocking.
SELECT e.exception_id, e.tenant_id, e.status, e.resting_status, e.sequence, e.stage, e.source_system,
       e.exception_type, e.reported_severity, e.severity, e.confidence, e.entity, e.sealed_payload,
       e.occurred_at, e.received_at, e.deadline_at, e.domain_version, e.tenant_version,
       i.type AS input_type, i.data AS input_data, i.actor AS input_actor, i.sealed_data,
       e.redriven_with{columns}
  FROM exceptions e
  LEFT JOIN inputs i ON i.exception_id = e.exception_id AND i.sequence = e.sequence
  {joins}
 WHERE e.exception_id = ANY(%(ids)s::uuid[])
 ORDER BY e.exception_id
   FOR UPDATE OF e
"""

_PLAN_JOIN = """
  LEFT JOIN LATERAL (SELECT plan_id, document, plan_hash, sequence
                       FROM plans WHERE plans.exception_id = e.exception_id{when}
                      ORDER BY plans.sequence DESC LIMIT 1) p ON true
  LEFT JOIN LATERAL (SELECT jsonb_object_agg(step, jsonb_build_array(state, output, error, completed_by,
                                                                          number)) AS steps
                       FROM plan_steps WHERE plan_steps.plan_id = p.plan_id) s ON true
"""
"""Tools' answers are not among the outputs: they are with the effects, which LOAD_EFFECTS reads."""

_PLAN = ", p.document AS plan, p.plan_id, p.plan_hash, s.steps"
_APPROVAL = f", {APPROVAL_COLUMNS}"
_ABOUT_APPROVAL = " AND i.type IN ('approved', 'rejected', 'approval_expired')"
"""Only a decision about an approval needs the plan that it is about; nothing is looked up for the others."""


def _load(columns: str = "", joins: str = "") -> str:
    return _LOAD.format(columns=columns, joins=joins)


LOAD_FIRST = _load()
"""For the first input of an exception, before the tool stage: it has no plan and no approval yet."""

LOAD: Mapping[Stage, str] = {
    Stage.INTAKE: _load(),
    Stage.TRIAGE: _load(),
    Stage.POLICY: _load(_PLAN + _APPROVAL, _PLAN_JOIN.format(when=_ABOUT_APPROVAL) + APPROVAL_JOIN),
    Stage.PLAYBOOK: _load(_PLAN + _APPROVAL, _PLAN_JOIN.format(when=" AND e.sequence > 1") + APPROVAL_JOIN),
    Stage.TOOL: _load(_PLAN, _PLAN_JOIN.format(when="")),
}
"""By stage. The first input of an exception has no plan before the playbook stage, and is not searched for one."""

LOAD_REDRIVEN = _load(_PLAN + _APPROVAL + ", p.sequence AS plan_sequence", _PLAN_JOIN.format(when="") + APPROVAL_JOIN)
"""For inputs that were sent again, at the stages that plan: a plan may have been made for them before, also for a
first input. Under the locks of LOAD."""

LOOK = _load().replace("FOR UPDATE OF e", "")
"""For a backtest: it writes nothing, so it has nothing to lock."""

LOAD_EFFECTS = """
-- No lock of its own: effects only change under their exception's row lock, which the caller holds.
SELECT exception_id, idempotency_key, plan_id, step, state, attempt, lease_until, output
  FROM tool_executions WHERE exception_id = ANY(%(ids)s::uuid[])
"""

LOAD_RESULTS = """
-- Results are written once and never change: no lock.
SELECT exception_id, result_id, document FROM tool_results WHERE result_id = ANY(%(ids)s::uuid[])
"""
