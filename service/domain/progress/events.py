"""The events of a plan's progress, as the playbook and the tool stage both write them.

`stepOrder` is the place of the plan's own step; for a step inside a group, or a compensation, `step` is its path.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from service.domain.events import EventType, NewEvent
from service.domain.plans import Plan, PlanStep

LONGEST_SUMMARY = 1_000
"""Bytes of a tool's answer, as JSON, that the event shows; the whole answer is in the effect ledger."""

_LEADING = re.compile(r"\d+")


def place(step: PlanStep) -> dict[str, Any]:
    """Where a step is in its plan."""
    path = step.path
    if path.isdecimal():
        return {"stepOrder": step.order}
    leading = _LEADING.match(path)
    return {"stepOrder": step.order if leading is None else int(leading.group()), "step": path}


def step_requested(step: PlanStep) -> NewEvent:
    """A step's turn has come. What it was given is in the plan, not in the event."""
    data = {**place(step), "name": step.name, "kind": step.kind.value, "action": step.action}
    return NewEvent(EventType.STEP_EXECUTION_REQUESTED, data)


def step_skipped(step: PlanStep) -> NewEvent:
    """A step's turn came, and its condition did not match."""
    return NewEvent(EventType.STEP_SKIPPED, {**place(step), "name": step.name})


def step_completed(step: PlanStep, **details: Any) -> NewEvent:
    """A step of the pipeline itself or of a person is done, or what a step waited for has come."""
    return NewEvent(EventType.STEP_COMPLETED, {**place(step), "name": step.name, **details})


def step_failed(step: PlanStep, error: str, **details: Any) -> NewEvent:
    """A step that is no call has failed."""
    data = {**place(step), "name": step.name, "error": error, "onFailure": step.on_failure.value, **details}
    return NewEvent(EventType.STEP_FAILED, data)


def call_requested(step: PlanStep, key: str) -> NewEvent:
    """A call is about to be made."""
    return NewEvent(EventType.TOOL_EXECUTION_REQUESTED, {"tool": _tool(step), **place(step), "idempotencyKey": key})


def call_completed(step: PlanStep, status: str, output: Any) -> NewEvent:
    """A tool confirmed a call."""
    data = {"tool": _tool(step), **place(step), "status": status, "output": summary(output)}
    return NewEvent(EventType.TOOL_EXECUTION_COMPLETED, data)


def call_failed(step: PlanStep, error: str, **details: Any) -> NewEvent:
    """A call did not come to a good end."""
    return NewEvent(EventType.TOOL_EXECUTION_FAILED, {"tool": _tool(step), **place(step), "error": error, **details})


def resolved(plan: Plan) -> NewEvent:
    """The plan is carried out."""
    return NewEvent(EventType.EXCEPTION_RESOLVED, {"playbook": plan.playbook})


def summary(output: Any) -> Any:
    """A tool's answer as an event shows it: as it is when short, else the beginning of its JSON text."""
    text = _as_json(output)
    if len(text) <= LONGEST_SUMMARY:
        return output
    return {"truncated": True, "bytes": len(text), "beginning": text[:LONGEST_SUMMARY].decode("utf-8", "ignore")}


def _as_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits and lone surrogates are JSON, but not to orjson
        return json.dumps(value, default=str).encode()


def _tool(step: PlanStep) -> str:
    assert step.tool_call is not None
    return step.tool_call.tool
