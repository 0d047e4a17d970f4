"""What is wrong with the steps of a playbook, given the tools they may call: at any depth, each fault with its path.

Steps are read from the document one by one, so that a fault of form in one does not hide those of the others.
What is wrong in form itself is passed over: it has been told already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from service.domain.conditions import compile_condition
from service.domain.packs.checking.leaf_checks import Tools, leaf_faults, leaf_warnings
from service.domain.packs.checking.step_references import (
    Keys,
    Scope,
    documents_within,
    groups_of,
    of_condition,
    of_value,
)
from service.domain.packs.faults import Fault
from service.domain.packs.steps import LONGEST_FOREACH, ActionType, StepBase, order_of, step_class
from service.domain.plans import StepKind
from service.domain.templates import TemplateError

DEEPEST = 6
"""Groups inside groups."""
MOST_STEPS = 500
"""Steps of a playbook as they are written, at any depth."""
MOST_CARRIED_OUT = 2_000
"""Steps of a playbook when every foreach has as many items as its `max` allows."""

__all__ = ["Tools", "steps_faults", "steps_warnings"]


@dataclass(frozen=True, slots=True)
class _Written:
    """A step as it is written."""

    path: str
    document: Mapping[str, Any]
    step: StepBase | None
    """None: its form has faults that leave no step; then only what is inside it is looked at."""
    position: int

    @property
    def order(self) -> int | None:
        """Its place in its list; None where that cannot be told."""
        if self.step is not None:
            return order_of(self.step, self.position)
        order = self.document.get("step_order", self.position + 1)
        return order if isinstance(order, int) else None

    @property
    def action(self) -> ActionType | None:
        """None for prose."""
        return getattr(self.step, "action_type", None)


def steps_faults(path: str, steps: Sequence[Any], tools: Tools | None) -> Iterator[Fault]:
    """Everything wrong with a playbook's steps."""
    written = list(documents_within(steps))
    if len(written) > MOST_STEPS:
        yield Fault(path, f"a playbook may have {MOST_STEPS} steps at all depths, this one has {len(written)}")
        return
    carried_out = _carried_out(steps)
    if carried_out > MOST_CARRIED_OUT:
        yield Fault(
            path,
            f"with every foreach at its `max` there would be {carried_out} steps, {MOST_CARRIED_OUT} may be: "
            "give the lists a smaller `max`",
        )
    keys = Keys.of((step.get("key"), step.get("name")) for step in written)
    yield from _Checks(tools, keys).faults(path, steps, keys.scope)


def steps_warnings(path: str, steps: Sequence[Any], tools: Tools | None, sensitive: frozenset[str]) -> Iterator[Fault]:
    """What a playbook's steps say in vain, or that their author may not have meant."""
    for written in _read(path, steps):
        if written.step is not None:
            yield from leaf_warnings(written.path, written.step, tools, sensitive)
            if written.step.compensation is not None:
                here = f"{written.path}.compensation"
                yield from leaf_warnings(here, written.step.compensation, tools, sensitive)
        for suffix, inner, _ in groups_of(written.document):
            yield from steps_warnings(f"{written.path}.{suffix}", inner, tools, sensitive)


@dataclass(frozen=True, slots=True)
class _Checks:
    tools: Tools | None
    keys: Keys

    def faults(self, path: str, steps: Sequence[Any], scope: Scope) -> Iterator[Fault]:
        """One list of steps and everything inside it, in the order in which they run."""
        if scope.depth > DEEPEST:
            yield Fault(path, f"groups may be nested {DEEPEST} deep")
            return
        orders: dict[int, int] = {}
        ordered = sorted(_read(path, steps), key=lambda written: (written.order or 0, written.position))
        for written in ordered:
            order = written.order
            if order is not None and order in orders:
                message = f"step {order} is there already: steps[{orders[order]}]"
                yield Fault(f"{written.path}.step_order", message)
            elif order is not None:
                orders[order] = written.position
            yield from self._one(written, scope, last=written is ordered[-1])
            scope = scope.after(self._keys_after(written))

    def _one(self, written: _Written, scope: Scope, last: bool) -> Iterator[Fault]:
        path, step = written.path, written.step
        if step is not None:
            yield from leaf_faults(path, step, self.tools)
            yield from _condition_faults(f"{path}.condition", step.condition, scope)
            yield from _reference_faults(path, written.document, scope)
            yield from self._compensation_faults(written, scope)
            if written.action is ActionType.SET_STATUS:
                yield from _end_faults(written, scope, last)
        for suffix, inner, action in groups_of(written.document):
            inside = replace(
                scope,
                in_foreach=scope.in_foreach or action == "foreach",
                at_once=scope.at_once or _at_once(written.document, action),
                depth=scope.depth + 1,
            )
            yield from self.faults(f"{path}.{suffix}", inner, inside)
        for suffix, condition in _arm_conditions(written.document):
            yield from _condition_faults(f"{path}.{suffix}", condition, scope)

    def _compensation_faults(self, written: _Written, scope: Scope) -> Iterator[Fault]:
        assert written.step is not None
        undo = written.step.compensation
        if undo is None:
            return
        here = f"{written.path}.compensation"
        action = getattr(undo, "action_type", None)
        if action is not None and (action is ActionType.SET_STATUS or action.kind in (StepKind.WAIT, StepKind.GROUP)):
            yield Fault(f"{here}.action_type", "a compensation is one step that does something; it cannot be this")
            return
        for key in ("condition", "compensation", "key"):
            if getattr(undo, key) is not None:
                yield Fault(f"{here}.{key}", f"a compensation has no {key}")
        yield from leaf_faults(here, undo, self.tools)
        own = self.keys.key_of(written.document.get("key"), written.document.get("name"))
        inside = scope.after([own] if own else [])
        yield from _reference_faults(here, written.document["compensation"], inside)

    def _keys_after(self, written: _Written) -> Iterator[str]:
        own = self.keys.key_of(written.document.get("key"), written.document.get("name"))
        if own is not None:
            yield own
        for _, inner, action in groups_of(written.document):
            if action != "foreach":
                for step in _read("", inner):
                    yield from self._keys_after(step)


def _read(path: str, steps: Sequence[Any]) -> Iterator[_Written]:
    for position, document in enumerate(steps):
        if isinstance(document, Mapping):
            yield _Written(f"{path}[{position}]", document, _valid(document), position)


def _valid(document: Mapping[str, Any]) -> StepBase | None:
    """The step, without those of its keys that are wrong in form; None where that leaves no step."""
    try:
        return step_class(document).model_validate(document)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors(include_url=False) if fault["loc"]}
    if not wrong & document.keys():
        return None
    return _valid({key: item for key, item in document.items() if key not in wrong})


def _condition_faults(path: str, source: Any, scope: Scope) -> Iterator[Fault]:
    if not isinstance(source, str):
        return
    try:
        condition = compile_condition(source, path)
    except ValueError:
        return
    for reference in of_condition(condition):
        fault = scope.fault(reference)
        if fault is not None:
            yield Fault(path, fault)


def _reference_faults(path: str, document: Mapping[str, Any], scope: Scope) -> Iterator[Fault]:
    """Of what a step's templates refer to; not of what is inside a group."""
    params = document.get("params")
    if not isinstance(params, Mapping):
        return
    action = document.get("action_type")
    own = {"foreach": ("items",), "branch": (), "parallel": ()}.get(str(action), tuple(params))
    for key in own:
        try:
            references = list(of_value(params.get(key))) if key != "form" else []
        except TemplateError:
            continue
        for reference in references:
            fault = scope.fault(reference)
            if fault is not None:
                yield Fault(f"{path}.params.{key}", fault)


def _arm_conditions(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    params = document.get("params")
    if document.get("action_type") != "branch" or not isinstance(params, Mapping):
        return
    name = "condition" if "condition" in params else "if"
    yield f"params.{name}", params.get(name)
    arms = params.get("arms")
    for index, arm in enumerate(arms if isinstance(arms, list | tuple) else ()):
        if isinstance(arm, Mapping):
            name = "condition" if "condition" in arm else "if"
            yield f"params.arms[{index}].{name}", arm.get(name)


def _end_faults(written: _Written, scope: Scope, last: bool) -> Iterator[Fault]:
    if scope.at_once:
        yield Fault(written.path, "set_status cannot be among steps that run side by side: it would end them all")
    elif not last and written.document.get("condition") is None:
        yield Fault(written.path, "set_status ends the plan; without a condition it has to be the last step")


def _at_once(document: Mapping[str, Any], action: str) -> bool:
    params = document.get("params")
    return action == "parallel" or (
        action == "foreach" and isinstance(params, Mapping) and params.get("parallel") is True
    )


def _carried_out(steps: Sequence[Any]) -> int:
    """How many steps there are when every foreach has its most items."""
    number = 0
    for step in steps:
        if not isinstance(step, Mapping):
            continue
        number += 1
        for _, inner, action in groups_of(step):
            times = 1
            if action == "foreach":
                given = step["params"].get("max", LONGEST_FOREACH)
                items = step["params"].get("items")
                times = given if isinstance(given, int) else LONGEST_FOREACH
                times = min(times, len(items)) if isinstance(items, list) else times
            number += times * _carried_out(inner)
    return number
