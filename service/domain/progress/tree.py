"""The shape of a plan: which lists of steps a group stands for, where a path leads, which steps' turn it is.

The steps of a foreach stand in the plan once, with `[*]` in their paths; for each item they are steps of their
own, with the item's position in that place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from service.domain.plans import SETTLED, Block, Plan, PlanStep, StepKind, StepResult, StepState

Results = Mapping[str, StepResult]

_ANY_ITEM = "[*]"


def lists_of(step: PlanStep, results: Results) -> Iterator[Iterable[PlanStep]]:
    """The lists of steps that a group whose turn has come stands for; all of them go on at once."""
    if step.action == "foreach":
        items = (placed(step, index) for index in range(len(items_of(step, results))))
        if step.parameters.get("parallel"):
            yield from items
        else:
            yield chain.from_iterable(items)
    elif step.action == "branch":
        arm = arm_of(step, results)
        if arm is not None:
            yield step.blocks[arm].steps
    else:
        for block in step.blocks:
            yield block.steps


def items_of(step: PlanStep, results: Results) -> Sequence[Any]:
    """A foreach's items: those of the plan, or those that were found when its turn came."""
    if not step.deferred:
        items: Sequence[Any] = step.parameters["items"]
        return items
    started = results.get(step.path)
    return () if started is None or started.output is None else started.output["items"]


def arm_of(step: PlanStep, results: Results) -> int | None:
    """The arm that a branch took."""
    if not decides_later(step):
        return 0
    started = results.get(step.path)
    return None if started is None or started.output is None else started.output["arm"]


def decides_later(step: PlanStep) -> bool:
    """Whether a branch has conditions that are asked when its turn comes."""
    return step.blocks[0].condition is not None


def placed(group: PlanStep, index: int) -> tuple[PlanStep, ...]:
    """The steps of a foreach for one of its items."""
    old, new = group.path + _ANY_ITEM, f"{group.path}[{index}]"
    return tuple(_moved(step, old, new) for step in group.blocks[0].steps)


def find(plan: Plan, path: str) -> PlanStep | None:
    """The step at a path; None: there is none."""
    steps: Iterable[PlanStep] = plan.steps
    while True:
        step = next((step for step in steps if path == step.path or _is_above(step.path, path)), None)
        if step is None or step.path == path:
            return step
        if path == f"{step.path}/undo":
            return step.compensation
        if step.kind is not StepKind.GROUP:
            return None
        if step.action != "foreach":
            steps = [inner for block in step.blocks for inner in block.steps]
            continue
        index = index_in(path, step.path)
        if index is None:
            return None
        steps = placed(step, index)


def index_in(path: str, group: str) -> int | None:
    """Of which item of a foreach the step at `path` is; None: it is not inside."""
    if not path.startswith(group + "["):
        return None
    digits = path[len(group) + 1 :].split("]", 1)[0]
    return int(digits) if digits.isdecimal() else None


def open_steps(plan: Plan, results: Results) -> Iterator[PlanStep]:
    """The steps whose turn it is, whoever has to act; while a plan is abandoned, the compensation whose turn it is."""
    undoing = [path for path, result in results.items() if path.endswith("/undo") and result.state not in SETTLED]
    if undoing:
        yield from (step for step in (find(plan, path) for path in undoing) if step is not None)
        return
    yield from _open(plan.steps, results)


def _open(steps: Iterable[PlanStep], results: Results) -> Iterator[PlanStep]:
    for step in steps:
        result = results.get(step.path)
        if result is not None and result.state in SETTLED:
            continue
        if step.kind is StepKind.GROUP:
            for inner in lists_of(step, results):
                yield from _open(inner, results)
        else:
            yield step
        return


def results_before(plan: Plan, results: Results, path: str) -> dict[str, Any]:
    """What the step at `path` reads as `steps`: results by key."""
    view: dict[str, Any] = {}
    _collect(plan.steps, results, path, view)
    return view


def item_of(plan: Plan, results: Results, path: str) -> tuple[Any, int] | None:
    """The item and its index that the step at `path` is for; None: it is inside no foreach."""
    if "[" not in path:
        return None
    above = path[: path.rindex("[")]
    group, index = find(plan, above), index_in(path, above)
    if group is None or index is None:
        return None
    return items_of(group, results)[index], index


def _collect(steps: Iterable[PlanStep], results: Results, path: str, view: dict[str, Any]) -> None:
    for step in steps:
        result = results.get(step.path)
        if step.kind is not StepKind.GROUP:
            if step.key is not None and result is not None and result.state in SETTLED:
                view[step.key] = _shown(result)
        elif step.action == "foreach":
            index = index_in(path, step.path)
            if index is not None:
                _collect(placed(step, index), results, path, view)
            elif step.key is not None and result is not None and result.state is StepState.DONE:
                view[step.key] = {"state": result.state.value, "output": _per_item(step, results)}
        else:
            for block in step.blocks:
                _collect(block.steps, results, path, view)


def _per_item(step: PlanStep, results: Results) -> list[dict[str, Any]]:
    """The outputs of a foreach, for each item by key."""
    found = []
    for index in range(len(items_of(step, results))):
        view: dict[str, Any] = {}
        _collect(placed(step, index), results, f"{step.path}[{index}]", view)
        found.append({key: result.get("output") for key, result in view.items()})
    return found


def _shown(result: StepResult) -> dict[str, Any]:
    shown = {"state": result.state.value, "output": result.output, "error": result.error, "by": result.by}
    return {name: value for name, value in shown.items() if value is not None}


def _is_above(path: str, below: str) -> bool:
    return below.startswith(path) and below[len(path)] in ".[/"


def _moved(step: PlanStep, old: str, new: str) -> PlanStep:
    undo = step.compensation
    return replace(
        step,
        path=new + step.path[len(old) :],
        compensation=None if undo is None else _moved(undo, old, new),
        blocks=tuple(
            Block(block.condition, tuple(_moved(inner, old, new) for inner in block.steps)) for block in step.blocks
        ),
    )
