"""The packs of the run: one tool that recognises a repeated key, one that does not."""

from __future__ import annotations

from typing import Any

from tests.chaos.effects.witness import IDEMPOTENT_TOOL, TOOL

DOMAIN = "EffectsUnderFire"
CALL_SECONDS = 2
TYPES = {IDEMPOTENT_TOOL: "CALL_AGAIN", TOOL: "CALL_ONCE"}


def domain_pack(witness_url: str) -> dict[str, Any]:
    """Each type's playbook is one call."""
    return {
        "domainName": DOMAIN,
        "exceptionTypes": {name: {"description": f"calls {tool}"} for tool, name in TYPES.items()},
        "tools": {tool: _tool(witness_url, tool) for tool in TYPES},
        "playbooks": [_playbook(tool, name) for tool, name in TYPES.items()],
    }


def tenant_pack(tenant_id: str) -> dict[str, Any]:
    """Nothing is asked of a person beforehand."""
    return {"tenantId": tenant_id, "domainName": DOMAIN}


def body(tool: str, filler: int) -> dict[str, Any]:
    """An exception that calls a tool with a request of about `filler` bytes."""
    return {"sourceSystem": "chaos", "exceptionType": TYPES[tool], "rawPayload": {"filler": "x" * filler}}


def _tool(witness_url: str, tool: str) -> dict[str, Any]:
    return {
        "endpoint": f"{witness_url}/{tool}",
        "parameters": {"filler": {"type": "string"}},
        "timeoutSeconds": CALL_SECONDS,
        "maxRetries": 3,
        "idempotent": tool == IDEMPOTENT_TOOL,
    }


def _playbook(tool: str, type_name: str) -> dict[str, Any]:
    step = {
        "step_order": 1,
        "name": f"Call {tool}",
        "action_type": "call_tool",
        "params": {"tool": tool, "parameters": {"filler": "{{ exception.rawPayload.filler }}"}},
    }
    return {"exceptionType": type_name, "steps": [step]}
