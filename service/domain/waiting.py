"""What a plan at rest waits for, for people to see and to decide on. What follows is the interpreter's business."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.plans import SETTLED, Plan, PlanStep, StepKind, StepResult, StepState


def waiting_steps(plan: Plan, results: Mapping[str, StepResult]) -> tuple[PlanStep, ...]:
    """The steps that somebody or something else has to act on: manual ones, waits, calls whose outcome is unknown."""
    settled = {path for path, result in results.items() if result.state in SETTLED}
    step = plan.next_step(settled)
    if step is None:
        return ()
    if step.kind in (StepKind.MANUAL, StepKind.WAIT) or _is_unknown(step, results):
        return (step,)
    return ()


def for_a_person(plan: Plan, results: Mapping[str, StepResult]) -> tuple[PlanStep, ...]:
    """Those that a person may complete."""
    return tuple(step for step in waiting_steps(plan, results) if step.kind is not StepKind.WAIT)


def _is_unknown(step: PlanStep, results: Mapping[str, StepResult]) -> bool:
    result = results.get(step.path)
    return result is not None and result.state is StepState.UNKNOWN
