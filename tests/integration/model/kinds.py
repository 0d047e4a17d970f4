"""The kinds of exceptions of the model: the pack that answers them, and where the model says they may rest.

The two halves are told apart on purpose: `pack` is what the engine reads, the sets of each kind are what a person
would expect who has read nothing but the pack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.exceptions import InputType, Status
from tests.integration.engine.plans import AGAIN, ONCE, TOOLS, call

R, E, C = Status.RESOLVED, Status.ESCALATED, Status.CANCELLED
APPROVAL, STEP, WAITS = Status.PENDING_APPROVAL, Status.PENDING_STEP, Status.WAITING

TIMERS = (InputType.STEP_DUE, InputType.APPROVAL_EXPIRED)
"""Inputs that nobody sends."""

SIGNAL = "go"
"""What the plans that wait for a signal wait for."""


class Told:
    """What stories show by its repr alone, however many fields it has."""

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True)
class Kind(Told):
    """One kind of exception."""

    name: str
    steps: tuple[Mapping[str, Any], ...]
    fresh: frozenset[Status]
    """Where the exception itself, or an update of it, may leave it."""
    later: frozenset[Status] = frozenset()
    """Where what people, signals and timers bring may leave its plan."""
    asks: bool = False
    """A person has to approve its plan."""
    effects: tuple[str, ...] = ()
    """Paths of the calls without which its plan cannot be RESOLVED."""
    entity: str | None = None
    broken: bool = False
    """It fails at intake, always."""

    def __repr__(self) -> str:
        """As stories show it."""
        return self.name

    def may_rest(self, kind: InputType, before: Status | None) -> frozenset[Status]:
        """Where an input may leave an exception that rested in `before` until it came."""
        same = frozenset() if before is None else frozenset({before})
        match kind:
            case InputType.INGESTED | InputType.UPDATED:
                return frozenset({APPROVAL}) if self.asks else self.fresh
            case InputType.COMMENT:
                return same
            case InputType.CANCELLED:
                return frozenset({C})
            case InputType.REJECTED:
                return frozenset({E})
            case InputType.APPROVED:
                return self.fresh | {APPROVAL}
            case InputType.APPROVAL_EXPIRED:
                return same | {E}
        return self.later | same


def _undo(tool: str) -> dict[str, Any]:
    return {"name": "undo it", "action_type": "call_tool", "params": {"tool": tool, "parameters": {}}}


def _parallel(order: int, *branches: list[dict[str, Any]]) -> dict[str, Any]:
    return {"step_order": order, "name": "both", "action_type": "parallel", "params": {"branches": list(branches)}}


def _comment(order: int) -> dict[str, Any]:
    params = {"text": "seen"}
    return {"step_order": order, "name": f"note {order}", "action_type": "add_comment", "params": params}


def _manual(order: int) -> dict[str, Any]:
    return {"step_order": order, "name": "look at it", "action_type": "manual", "params": {}}


def _wait(order: int, **params: Any) -> dict[str, Any]:
    return {"step_order": order, "name": "wait", "action_type": "wait", "params": params}


KINDS = (
    Kind("NOTE", (_comment(1),), frozenset({R}), frozenset({R})),
    Kind("ONCE", (call(1, ONCE, "first"),), frozenset({R, STEP}), frozenset({R, STEP, E}), effects=("1",)),
    Kind("AGAIN", (call(1, AGAIN, "first"),), frozenset({R}), frozenset({R}), effects=("1",)),
    Kind(
        "BOTH",
        (_parallel(1, [call(1, ONCE, "first")], [call(1, AGAIN, "second")]), call(2, ONCE, "last")),
        frozenset({R, STEP}),
        frozenset({R, STEP, E}),
        effects=("1.1.1", "1.2.1", "2"),
    ),
    Kind(
        "ASKED", (call(1, ONCE, "first"),), frozenset({R, STEP}), frozenset({R, STEP, E}), asks=True, effects=("1",)
    ),
    Kind(
        "MANUAL", (_manual(1), call(2, AGAIN, "after")), frozenset({STEP}), frozenset({R, STEP}), effects=("2",)
    ),
    Kind(
        "SIGNALLED",
        (_wait(1, event=SIGNAL), call(2, ONCE, "after")),
        frozenset({WAITS}),
        frozenset({R, WAITS, STEP, E}),
        effects=("2",),
    ),
    Kind(
        "TIMED", (_wait(1, minutes=5), call(2, AGAIN, "after")), frozenset({WAITS}), frozenset({R, WAITS}),
        effects=("2",),
    ),
    Kind(
        "UNDONE",
        (call(1, ONCE, "first", compensation=_undo(AGAIN)), call(2, AGAIN, "second", onFailure="compensate")),
        frozenset({R, STEP, E}),
        frozenset({R, STEP, E}),
        effects=("1", "2"),
    ),
    Kind(
        "FORGIVING",
        (call(1, AGAIN, "first", onFailure="continue"), _comment(2)),
        frozenset({R}),
        frozenset({R}),
    ),
    Kind("BROKEN", (_comment(1),), frozenset(), entity="Whole", broken=True),
)  # fmt: skip

BY_NAME = {kind.name: kind for kind in KINDS}


def adjust_domain(domain: dict[str, Any]) -> None:
    """Make an example's domain pack the model's."""
    domain["entities"] = {"Whole": {"attributes": {"part": {"type": "string", "required": True}}, "relations": []}}
    domain["exceptionTypes"] = {kind.name: {"description": "of the model", "detectionRules": []} for kind in KINDS}
    domain["severityRules"] = [
        {"condition": f"exceptionType == '{kind.name}'", "severity": "CRITICAL"} for kind in KINDS if kind.asks
    ]
    domain["tools"] = {**domain["tools"], **TOOLS}
    domain["playbooks"] = [
        {"name": kind.name.lower(), "exceptionType": kind.name, "steps": list(kind.steps)} for kind in KINDS
    ]
    domain["testSuites"] = []


def adjust_tenant(tenant: dict[str, Any]) -> None:
    """Give the time for approving an end."""
    for rule in tenant["humanApprovalRules"]:
        if rule["severity"] == "CRITICAL":
            rule["timeLimitMinutes"] = 30


def body(kind: Kind, price: int) -> dict[str, Any]:
    """A request's body."""
    entity = {} if kind.entity is None else {"entity": kind.entity}
    return {"sourceSystem": "model", "exceptionType": kind.name, "rawPayload": {"price": price}, **entity}
