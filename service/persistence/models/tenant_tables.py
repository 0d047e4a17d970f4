"""The tables whose rows belong to a tenant."""

from __future__ import annotations

from service.persistence.models.dead_letters import dead_letters
from service.persistence.models.dispatch import outbox, pauses
from service.persistence.models.effects import notifications, tool_executions, tool_results
from service.persistence.models.events import events
from service.persistence.models.exceptions import exceptions, idempotency_keys, inputs
from service.persistence.models.packs import pack_activations, pack_reports, packs
from service.persistence.models.plans import plan_steps, plans
from service.persistence.models.redrives import redrive_items, redrives
from service.persistence.models.tenants import api_keys, tenants
from service.persistence.models.waiting import approvals, approvals_given, timers

TENANT_TABLES = (
    tenants,
    api_keys,
    packs,
    pack_activations,
    pack_reports,
    exceptions,
    inputs,
    events,
    outbox,
    plans,
    plan_steps,
    tool_executions,
    tool_results,
    approvals,
    approvals_given,
    timers,
    dead_letters,
    redrives,
    redrive_items,
    notifications,
    pauses,
    idempotency_keys,
)
"""Tables with a tenant_id: row-level security is forced on each."""
