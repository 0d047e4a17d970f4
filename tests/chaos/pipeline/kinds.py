"""The kinds of exceptions that the load is made of: their packs, their bodies, and where each may come to rest. Pure.

One kind is one exception type with one playbook. Every payload has a `ref` of its own, so that the database itself
shows when one request became two exceptions.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any

DOMAIN = "ChaosDesk"
_TRIES = 20
"""Of a call: a round may cut a tool off for long, and that must dead-letter nobody."""


class Kind(StrEnum):
    """What becomes of an exception when nothing is broken."""

    STRAIGHT = "straight"
    """RESOLVED by one call of a tool that recognises a repeated key."""
    BATCH = "batch"
    """RESOLVED by a tool that takes many in one call."""
    INTERNAL = "internal"
    """RESOLVED without a tool."""
    ONCE = "once"
    """RESOLVED by a tool that works every call it gets: a call in doubt waits for a person."""
    SLOW = "slow"
    """RESOLVED by a tool that takes its time."""
    APPROVAL = "approval"
    """Waits for a person's approval, then as STRAIGHT."""
    MANUAL = "manual"
    """Waits for a person to do a step, then as STRAIGHT."""
    TRANSIENT = "transient"
    """RESOLVED by a tool that fails twice first."""
    PERMANENT = "permanent"
    """DEAD_LETTERED: the tool refuses."""
    POISON_EXIT = "poison-exit"
    """DEAD_LETTERED: it ends the process that works it; the next ones do it in other ways."""
    POISON_SEGFAULT = "poison-segfault"
    POISON_MEMORY = "poison-memory"
    POISON_HANG = "poison-hang"

    @property
    def poison(self) -> str | None:
        """How it takes its worker down; None: it does not."""
        return self.value.removeprefix("poison-") if self.value.startswith("poison-") else None


class Said(StrEnum):
    """What sources and people say of an exception later."""

    COMMENT = "comment"
    UPDATED = "updated"
    CANCEL = "cancel"
    APPROVE = "approve"
    REJECT = "reject"
    COMPLETE = "complete"
    REDRIVE = "redrive"
    DISCARD = "discard"


POISON = tuple(kind for kind in Kind if kind.poison)
DEAD = (Kind.PERMANENT, *POISON)
"""Those that end as dead letters."""
_TOOLS = {
    Kind.STRAIGHT: "repair",
    Kind.SLOW: "repair",
    Kind.APPROVAL: "repair",
    Kind.MANUAL: "repair",
    Kind.BATCH: "allocate",
    Kind.ONCE: "book",
    Kind.TRANSIENT: "drill",
    Kind.PERMANENT: "drill",
}
_SIMULATED: dict[Kind, dict[str, Any]] = {
    Kind.SLOW: {"delaySeconds": 1.5, "idempotent": True},
    Kind.ONCE: {"delaySeconds": 1.2},
    Kind.TRANSIENT: {"failTimes": 2, "idempotent": True},
    Kind.PERMANENT: {"status": 422},
}
"""How the tool server behaves; by default it recognises a repeated key."""


def body(kind: Kind, ref: str) -> dict[str, Any]:
    """An exception of a kind, for POST /exceptions."""
    payload: dict[str, Any] = {"ref": ref}
    if kind in _TOOLS:
        payload["simulate"] = _SIMULATED.get(kind, {"idempotent": True})
    if kind.poison:
        payload["poison"] = kind.poison
    return {"sourceSystem": "chaos", "exceptionType": _type_of(kind), "rawPayload": payload}


def resting(kind: Kind, said: Collection[Said]) -> frozenset[str]:
    """The statuses in which an exception may rest, after what was said of it and accepted.

    `PENDING_STEP` of a kind that does not wait for a person is only right with a call in doubt; the verdict asks.
    """
    if kind in DEAD:
        # Sent again it fails again.
        return frozenset({"DISCARDED" if Said.DISCARD in said else "DEAD_LETTERED"})
    if Said.CANCEL in said:
        return frozenset({"CANCELLED"})
    if kind is Kind.ONCE:
        return frozenset({"RESOLVED", "PENDING_STEP"})
    if kind is Kind.APPROVAL and Said.APPROVE not in said:
        return frozenset({"ESCALATED" if Said.REJECT in said else "PENDING_APPROVAL"})
    if kind is Kind.MANUAL and Said.COMPLETE not in said:
        return frozenset({"PENDING_STEP"})
    return frozenset({"RESOLVED"})


def domain_pack() -> dict[str, Any]:
    """The types, tools and playbooks of the load."""
    return {
        "domainName": DOMAIN,
        "exceptionTypes": {_type_of(kind): {"description": f"the kind {kind}"} for kind in Kind},
        "severityRules": [{"condition": f"exceptionType == '{_type_of(Kind.APPROVAL)}'", "severity": "CRITICAL"}],
        "tools": {
            "repair": _tool("${toolServerUrl}/tools/repair"),
            "allocate": _tool("${toolServerUrl}/tools/allocate")
            | {"batchEndpoint": "${toolServerUrl}/tools/allocate/batch"},
            "book": _tool("${toolServerUrl}/tools/book", idempotent=False),
            "drill": _tool("${toolServerUrl}/tools/drill"),
        },
        "playbooks": [{"exceptionType": _type_of(kind), "steps": _steps(kind)} for kind in Kind],
    }


def tenant_pack(tenant_id: str) -> dict[str, Any]:
    """What is critical needs a person."""
    return {
        "tenantId": tenant_id,
        "domainName": DOMAIN,
        "humanApprovalRules": [{"severity": "CRITICAL", "requireApproval": True}],
    }


def _type_of(kind: Kind) -> str:
    return f"CHAOS_{kind.name}"


def _tool(endpoint: str, *, idempotent: bool = True) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "parameters": {"ref": {"type": "string"}, "simulate": {"type": "object"}},
        "timeoutSeconds": 5,
        "maxRetries": _TRIES,
        "idempotent": idempotent,
    }


def _steps(kind: Kind) -> list[dict[str, Any]]:
    tool = _TOOLS.get(kind)
    if tool is None:
        close = {"action_type": "set_status", "params": {"status": "RESOLVED"}}
        note = {"action_type": "add_comment", "params": {"text": "seen: {{ exception.rawPayload.ref }}"}}
        return [{"step_order": 1, "name": "Note it", **note}, {"step_order": 2, "name": "Close it", **close}]
    parameters = {"ref": "{{ exception.rawPayload.ref }}", "simulate": "{{ exception.rawPayload.simulate }}"}
    call = {"action_type": "call_tool", "params": {"tool": tool, "parameters": parameters}}
    if kind is Kind.MANUAL:
        return [{"action": "Look at it", "parameters": {}}, {"step_order": 2, "name": f"Call {tool}", **call}]
    return [{"step_order": 1, "name": f"Call {tool}", **call}]
