"""What people do for a plan under way: complete its manual steps, say what became of calls nobody knows of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from flask import Blueprint, Response

from service.api.auth import Role
from service.api.context import caller_with, exception_id_of
from service.api.input_schemas import EffectResolution, StepCompletion
from service.api.inputs import Asked, Locked, body_as, take
from service.api.problems import CONFLICT, INVALID, NOT_FOUND, ProblemError
from service.domain.events import EventType
from service.domain.exceptions import InputType, Status
from service.domain.forms import answer_faults
from service.domain.packs.faults import Fault
from service.domain.plans import PlanStep
from service.domain.waiting import for_a_person
from service.persistence.queries import StoredPlan, stored_plan

blueprint = Blueprint("steps", __name__, url_prefix="/exceptions/<identifier>")

_LARGEST_ANSWER = 64 * 1024
"""Bytes of JSON: an answer is part of the plan's record, which every later step of the plan reads."""
_TOP_LEVEL = re.compile(r"\d{1,9}")


@blueprint.post("/steps/<path:step>/complete")
def complete(identifier: str, step: str) -> Response:
    """A person has done a step that the plan waits for; `step` is its path."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(StepCompletion)
    place = {"step": step, **_top_level(step)}
    data = {**place, **body.model_dump(exclude={"answer"}, exclude_none=True)}
    if "answer" in body.model_fields_set:
        data["output"] = body.answer
    _check_size("answer", body.answer)
    shown = {**place, "by": caller.name}
    asked = Asked(InputType.STEP_COMPLETED, EventType.STEP_COMPLETION_REQUESTED, data, shown)

    def act(locked: Locked) -> int:
        locked.be_in(Status.PENDING_STEP, Status.WAITING)
        waiting = _waiting_step(_plan(locked), step)
        faults = answer_faults(waiting.form, body.answer, "answer") if waiting.form is not None else []
        if faults:
            raise ProblemError(INVALID, f"the answer does not fit the form of step {step}; see errors", faults)
        return locked.append(asked)

    return take(caller, exception_id_of(identifier), asked, act)


@blueprint.post("/effects/<key>/resolve")
def resolve_effect(identifier: str, key: str) -> Response:
    """A person found out what became of a call that went out and whose answer nobody knows."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(EffectResolution)
    if body.verdict != "done" and "output" in body.model_fields_set:
        raise ProblemError(INVALID, "only what was done has an output", [Fault("output", "goes with verdict done")])
    _check_size("output", body.output)
    given = {"idempotencyKey": key, **body.model_dump(exclude_unset=True)}
    asked = Asked(InputType.EFFECT_RESOLVED, EventType.EXCEPTION_UPDATED, given, {})

    def act(locked: Locked) -> int:
        step = _unknown_step(_plan(locked), key)
        locked.be_in(Status.PENDING_STEP, Status.WAITING)
        shown = {"type": asked.type, "by": caller.name, "verdict": body.verdict, "idempotencyKey": key, "step": step}
        return locked.append(Asked(asked.type, asked.event, {**given, "step": step}, shown))

    return take(caller, exception_id_of(identifier), asked, act)


def _plan(locked: Locked) -> StoredPlan | None:
    return stored_plan(locked.transaction, locked.caller.tenant_id, locked.exception_id)


def _waiting_step(stored: StoredPlan | None, path: str) -> PlanStep:
    """The step, if the plan waits for a person to complete it. Raises ProblemError 409."""
    waiting = {} if stored is None else {step.path: step for step in for_a_person(stored.plan, stored.results)}
    found = waiting.get(path)
    if found is None:
        told = f"step {' and step '.join(waiting)}" if waiting else "no step"
        raise ProblemError(CONFLICT, f"the plan waits for {told}, not for step {path}")
    return found


def _unknown_step(stored: StoredPlan | None, key: str) -> str:
    """The path of the step whose effect it is. Raises ProblemError 404, or 409 when its outcome is known."""
    effects = {} if stored is None else {effect.idempotency_key: effect for effect in stored.effects}
    effect = effects.get(_uuid(key))
    if effect is None:
        raise ProblemError(NOT_FOUND, "the exception's plan has no effect of this key")
    if effect.state != "unknown":
        raise ProblemError(CONFLICT, f"the effect is {effect.state}: only one that is unknown can be resolved")
    path: str = effect.step
    return path


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _top_level(step: str) -> Mapping[str, int]:
    """The order of the plan's own step that this one is, or is inside of."""
    order = _TOP_LEVEL.match(step)
    return {"stepOrder": int(order.group())} if order else {}


def _check_size(name: str, value: Any) -> None:
    if len(orjson.dumps(value)) > _LARGEST_ANSWER:
        message = f"may have {_LARGEST_ANSWER:,} bytes as JSON"
        raise ProblemError(INVALID, f"the {name} is too large", [Fault(name, message)])
