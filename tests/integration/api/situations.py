"""Exceptions put into the situations in which people decide, as the stages would leave them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from service.domain.plan_documents import plan_hash, to_document
from service.domain.plans import Plan, PlanStep, StepKind, ToolCall
from service.persistence.unit_of_work import Transaction, as_json
from tests.integration.api.world import Tenant, World

_ASK = """
INSERT INTO approvals (exception_id, sequence, tenant_id, state, reason, requested_at, plan_hash, approvals_needed,
                       due_at)
VALUES (%(id)s, %(sequence)s, %(t)s, 'pending', 'severity CRITICAL', now(), %(hash)s, %(needed)s, %(due)s)
"""
_PLAN = """
INSERT INTO plans (plan_id, tenant_id, exception_id, sequence, playbook, document, domain_version, tenant_version,
                   created_at, plan_hash)
VALUES (%(p)s, %(t)s, %(id)s, %(sequence)s, %(playbook)s, %(d)s::jsonb, 1, 1, now(), %(hash)s)
"""
_STEP = """
INSERT INTO plan_steps (plan_id, step, tenant_id, state, completed_at, completed_by)
VALUES (%(p)s, %(step)s, %(t)s, %(state)s, %(now)s, 'ann')
"""
_EFFECT = """
INSERT INTO tool_executions (idempotency_key, tenant_id, exception_id, plan_id, step, tool, state, attempt,
                             requested_at, error)
VALUES (%(key)s, %(t)s, %(id)s, %(p)s, %(step)s, 'bookEntry', %(state)s, 1, now(), 'no answer within 2 s')
"""
_TIMER = """
INSERT INTO timers (exception_id, kind, step, tenant_id, plan_id, due_at)
VALUES (%(id)s, %(kind)s, %(step)s, %(t)s, %(p)s, %(due)s)
"""


def call(amount: int = 5) -> Plan:
    """A plan that books an amount."""
    booking = ToolCall("bookEntry", "https://books.example/entries", {"amount": amount})
    return Plan("book", (PlanStep(1, "Book it", StepKind.EXTERNAL, "call_tool", tool_call=booking),))


def by_hand(**form: Any) -> Plan:
    """A plan of two manual steps, the second with a form if one is given."""
    steps = (
        PlanStep(1, "look 1", StepKind.MANUAL, "look at it", {"pin": "s3cr3t"}),
        PlanStep(2, "look 2", StepKind.MANUAL, "look at it", {"pin": "s3cr3t"}, form=form or None),
    )
    return Plan("by-hand", steps)


def asks_for_approval(
    world: World,
    tenant: Tenant,
    exception_id: str,
    plan: Plan | None = None,
    *,
    sequence: int = 1,
    needed: int = 1,
    due: datetime | None = None,
) -> str | None:
    """The policy stage wants people to approve a plan; its hash."""
    digest = plan_hash(plan) if plan is not None else None

    def write(transaction: Transaction) -> None:
        given = {"id": exception_id, "t": tenant.tenant_id, "sequence": sequence, "hash": digest}
        transaction.run(_ASK, {**given, "needed": needed, "due": due})
        if plan is not None:
            document = as_json(to_document(plan))
            transaction.run(_PLAN, {**given, "p": str(uuid4()), "playbook": plan.playbook, "d": document})

    world.as_engine(tenant, write)
    world.rest(tenant, exception_id, "PENDING_APPROVAL")
    return digest


def waits_in_plan(
    world: World,
    tenant: Tenant,
    exception_id: str,
    plan: Plan,
    *,
    steps: Mapping[str, str] = {},
    effects: Mapping[str, str] = {},
    timers: Mapping[str, datetime] = {},
    status: str = "PENDING_STEP",
) -> dict[str, str]:
    """A plan is under way, with the states of its steps and effects; the effects' keys by step."""
    plan_id = str(uuid4())
    keys = {step: str(uuid4()) for step in effects}
    given = {"id": exception_id, "t": tenant.tenant_id, "p": plan_id, "now": datetime.now(UTC)}

    def write(transaction: Transaction) -> None:
        document = as_json(to_document(plan))
        transaction.run(_PLAN, {**given, "sequence": 1, "playbook": plan.playbook, "d": document, "hash": None})
        for step, state in steps.items():
            transaction.run(_STEP, {**given, "step": step, "state": state})
        for step, state in effects.items():
            transaction.run(_EFFECT, {**given, "step": step, "state": state, "key": keys[step]})
        for step, due in timers.items():
            transaction.run(_TIMER, {**given, "kind": "wait", "step": step, "due": due})

    world.as_engine(tenant, write)
    world.rest(tenant, exception_id, status)
    return keys
