"""The plan as JSON, in which it is stored and travels, and the hash that a person approves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson

from service.domain.plans import Block, OnFailure, Plan, PlanStep, StepKind, ToolCall


def plan_hash(plan: Plan) -> str:
    """SHA-256, in hex, of the plan's document: steps, parameters and tools, whatever the order of keys."""
    document = to_document(plan)
    try:
        text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS, default=_plain)
    except TypeError:  # integers beyond 64 bits and lone surrogates are JSON, but not to orjson
        text = json.dumps(document, sort_keys=True, default=_plain).encode()
    return hashlib.sha256(text).hexdigest()


def to_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-ready values."""
    document: dict[str, Any] = {"playbook": plan.playbook, "steps": [_step_document(step) for step in plan.steps]}
    if plan.basis is not None:
        document["basis"] = plan.basis
    return document


def from_document(document: Mapping[str, Any]) -> Plan:
    """The plan that `to_document` wrote."""
    return Plan(document["playbook"], tuple(map(_step, document["steps"])), document.get("basis"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


_STEP_EXTRAS = {
    "key": "key",
    "condition": "condition",
    "on_failure": "onFailure",
    "timeout_seconds": "timeoutSeconds",
    "form": "form",
    "deferred": "deferred",
}
"""Fields of a step that its document only has where they say something, with their keys."""

_STEP_DEFAULTS = {
    "key": None,
    "condition": None,
    "on_failure": OnFailure.RETRY,
    "timeout_seconds": None,
    "form": None,
    "deferred": False,
}
_PLAIN_KEYS = 5
"""Keys that every step's document has; most have only those and their call."""
_CALL_FIELDS = tuple(name for name in ToolCall.__slots__ if name not in ("kind", "options", "max_concurrency"))
_KINDS = {kind.value: kind for kind in StepKind}


def _step_document(step: PlanStep) -> dict[str, Any]:
    document: dict[str, Any] = {
        "order": step.order,
        "name": step.name,
        "kind": step.kind.value,
        "action": step.action,
        "parameters": step.parameters,
    }
    call = step.tool_call
    if call is not None:
        document["toolCall"] = _call_document(call)
    if step.path != str(step.order):
        document["path"] = step.path
    for name, key in _STEP_EXTRAS.items():
        value = getattr(step, name)
        if value != _STEP_DEFAULTS[name]:
            document[key] = value
    if step.compensation is not None:
        document["compensation"] = _step_document(step.compensation)
    if step.blocks:
        document["blocks"] = [
            {"condition": block.condition, "steps": [_step_document(inner) for inner in block.steps]}
            for block in step.blocks
        ]
    return document


def _call_document(call: ToolCall) -> dict[str, Any]:
    document = {name: getattr(call, name) for name in _CALL_FIELDS}
    if call.kind != "http":
        document["kind"] = call.kind
    if call.options:
        document["options"] = call.options
    if call.max_concurrency is not None:
        document["max_concurrency"] = call.max_concurrency
    return document


def _step(document: Mapping[str, Any]) -> PlanStep:
    call = document.get("toolCall")
    undo = document.get("compensation")
    if len(document) == _PLAIN_KEYS + (call is not None):
        return PlanStep(
            document["order"],
            document["name"],
            _KINDS[document["kind"]],
            document["action"],
            document["parameters"],
            None if call is None else ToolCall(**call),
        )
    return PlanStep(
        order=document["order"],
        name=document["name"],
        kind=_KINDS[document["kind"]],
        action=document["action"],
        parameters=document["parameters"],
        tool_call=None if call is None else ToolCall(**call),
        path=document.get("path", ""),
        key=document.get("key"),
        condition=document.get("condition"),
        on_failure=OnFailure(document.get("onFailure", OnFailure.RETRY)),
        timeout_seconds=document.get("timeoutSeconds"),
        compensation=None if undo is None else _step(undo),
        blocks=tuple(
            Block(block["condition"], tuple(map(_step, block["steps"]))) for block in document.get("blocks", ())
        ),
        form=document.get("form"),
        deferred=document.get("deferred", False),
    )
