"""Planning again what was planned before: which of the two plans is carried out, and what it may not repeat.

An input that is sent again from the playbook stage or earlier is planned anew. Its plan keeps its id, and so the
idempotency keys of its effects: a step that stands where it stood before finds in the ledger what it has done. What
happened, or may have, and would not be found there is a reason not to go on: nothing is repeated blindly.
"""

from __future__ import annotations

from service.domain.exceptions import EarlierPlan
from service.domain.plan_documents import plan_hash
from service.domain.plans import Plan, ToolCall
from service.domain.progress.tree import find
from service.errors import PermanentError

_UNWORKED = frozenset({"intent", "failed"})
"""States of effects that the tool did not work, as far as it can tell: see `service.tools.answers`."""


class PlanWouldRepeatError(PermanentError):
    """The plan made anew leaves out, or does otherwise, what has happened already or may have."""

    def __init__(self, told: str) -> None:
        super().__init__(
            f"planned again, the plan differs from the one before in what may have happened already: {told}; redrive "
            "from the tool stage to go on with the plan before, or discard and undo it by hand"
        )


def same_plan(earlier: EarlierPlan, plan: Plan) -> bool:
    """Whether planning again came to the same plan: then the one before goes on from where it is."""
    return plan_hash(earlier.plan) == plan_hash(plan)


def check_replacement(earlier: EarlierPlan, plan: Plan) -> None:
    """Raise PlanWouldRepeatError if another plan could do again what the one before did, or forgets that it did."""
    reasons = [
        reason
        for path, state in sorted(earlier.effects.items())
        if (reason := _conflict(path, state, _call_at(earlier.plan, path), plan)) is not None
    ]
    if reasons:
        raise PlanWouldRepeatError("; ".join(reasons))


def _conflict(path: str, state: str, before: ToolCall | None, plan: Plan) -> str | None:
    after = _call_at(plan, path)
    if state not in _UNWORKED:
        if before is not None and after is not None and _same(before, after):
            return None
        name = "a call" if before is None else f"the call of {before.tool}"
        return f"{name} at step {path} is {state}, and the new plan has another step there or none"
    if before is None or not before.idempotent or (after is not None and after.tool == before.tool):
        # Refused, or repeated under the same key by a tool that ignores a repeated key.
        return None
    if before.tool not in _tools(plan):
        return None
    return f"{before.tool} was called at step {path} without an answer, and the new plan calls it at another step"


def _same(before: ToolCall, after: ToolCall) -> bool:
    return before.tool == after.tool and before.parameters == after.parameters


def _call_at(plan: Plan, path: str) -> ToolCall | None:
    step = find(plan, path)
    return None if step is None else step.tool_call


def _tools(plan: Plan) -> set[str]:
    found: set[str] = set()
    steps = list(plan.steps)
    while steps:
        step = steps.pop()
        if step.tool_call is not None:
            found.add(step.tool_call.tool)
        steps += [inner for block in step.blocks for inner in block.steps]
        steps += [] if step.compensation is None else [step.compensation]
    return found
