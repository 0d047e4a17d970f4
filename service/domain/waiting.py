"""What a plan at rest waits for, for people to see and to decide on."""

from __future__ import annotations

from service.domain.plans import Plan, PlanStep, StepKind, StepState
from service.domain.progress.tree import Results, open_steps


def waiting_steps(plan: Plan, results: Results) -> tuple[PlanStep, ...]:
    """The steps that somebody or something else has to act on: manual ones, waits, calls whose outcome is unknown."""
    return tuple(
        step
        for step in open_steps(plan, results)
        if step.kind in (StepKind.MANUAL, StepKind.WAIT) or _is_unknown(step, results)
    )


def for_a_person(plan: Plan, results: Results) -> tuple[PlanStep, ...]:
    """Those that a person may complete."""
    return tuple(step for step in waiting_steps(plan, results) if step.kind is not StepKind.WAIT)


def _is_unknown(step: PlanStep, results: Results) -> bool:
    result = results.get(step.path)
    return result is not None and result.state is StepState.UNKNOWN
