"""What the stories of the domain begin with: exceptions, packs, and a walk through the stages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from service.domain.events import NewEvent
from service.domain.exceptions import (
    Changes,
    ExceptionRecord,
    Input,
    InputType,
    Outcome,
    PackVersions,
    Stage,
    Status,
)
from service.domain.identifiers import plan_id
from service.domain.packs import PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.plans import StepRecord
from service.domain.stages import DECIDE, CallResult, advance, after_call

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[3] / "examples" / "packs"
VERSIONS = PackVersions(domain=1, tenant=1)
VARIABLES = {"toolServerUrl": "http://127.0.0.1:1"}


def exception(
    exception_type: str | None = "LATE", payload: Mapping[str, Any] | None = None, **fields: Any
) -> ExceptionRecord:
    """An exception that has just come in, received at noon."""
    as_received = ExceptionRecord(
        tenant_id="ACME",
        exception_id=UUID("01890000-0000-7000-8000-000000000001"),
        status=Status.RECEIVED,
        resting_status=None,
        sequence=1,
        stage=Stage.INTAKE,
        source_system="ledger",
        exception_type=exception_type,
        reported_severity=None,
        severity=None,
        confidence=1.0,
        entity=None,
        raw_payload=payload or {},
        occurred_at=NOON,
        received_at=NOON,
        deadline_at=None,
        pack_versions=VERSIONS,
        input=Input(InputType.INGESTED),
    )
    return replace(as_received, **fields)


def domain_document(**keys: Any) -> dict[str, Any]:
    """A small domain: one type, one tool, nothing else unless `keys` say so."""
    return {
        "domainName": "Deliveries",
        "exceptionTypes": {"LATE": {}, "LOST": {}},
        "tools": {"trace": {"endpoint": "https://tools.example/trace", "parameters": {"id": {"type": "string"}}}},
        **keys,
    }


def tenant_document(**keys: Any) -> dict[str, Any]:
    """A tenant of that domain that changes nothing unless `keys` say so."""
    return {"tenantId": "ACME", "domainName": "Deliveries", **keys}


def packs(domain: Mapping[str, Any] | None = None, tenant: Mapping[str, Any] | None = None) -> PackSet:
    """A pack set of the small domain with these keys in its two packs."""
    domain_pack = parse_domain_pack(domain_document(**(domain or {})))
    return build_pack_set(domain_pack, parse_tenant_pack(tenant_document(**(tenant or {})), domain_pack), VERSIONS)


def playbook(*steps: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """A playbook for late deliveries with these steps, in this order."""
    numbered = [
        {"step_order": order, **step} if "action_type" in step else dict(step) for order, step in enumerate(steps, 1)
    ]
    target = {} if "conditions" in keys else {"exceptionType": "LATE"}
    return {"name": "chase", **target, **keys, "steps": numbered}


def call_tool(tool: str = "trace", **parameters: Any) -> dict[str, Any]:
    """A step that calls a tool."""
    return {"name": f"call {tool}", "action_type": "call_tool", "params": {"tool": tool, "parameters": parameters}}


def comment(text: str = "seen", **keys: Any) -> dict[str, Any]:
    """A step that adds a comment."""
    return {"name": "comment", "action_type": "add_comment", "params": {"text": text}, **keys}


def set_status(status: str, **keys: Any) -> dict[str, Any]:
    """A step that ends the plan."""
    return {"name": "end", "action_type": "set_status", "params": {"status": status}, **keys}


def prose(text: str = "Ring the depot") -> dict[str, Any]:
    """A step for a person."""
    return {"action": text, "parameters": {}}


def example(name: str) -> dict[str, Any]:
    """A file of examples/packs."""
    document: dict[str, Any] = json.loads((EXAMPLES / name).read_text())
    return document


def example_packs(domain: str, tenant: str) -> PackSet:
    """The pack set of two example packs."""
    domain_pack = parse_domain_pack(example(f"{domain}.domain.json"), VARIABLES)
    return build_pack_set(domain_pack, parse_tenant_pack(example(f"{tenant}.tenant.json"), domain_pack), VERSIONS)


@dataclass(frozen=True)
class Walk:
    """How far an exception came: its events in order, its row, and where it rests."""

    events: tuple[NewEvent, ...]
    record: ExceptionRecord
    finished: Status

    @property
    def types(self) -> list[str]:
        """The events' names."""
        return [event.type.value for event in self.events]

    def data(self, event_type: str) -> Mapping[str, Any]:
        """The data of the only event of a type."""
        [found] = [event.data for event in self.events if event.type == event_type]
        return found


def walk(record: ExceptionRecord, pack_set: PackSet, output: Any = None, start: Stage = Stage.INTAKE) -> Walk:
    """Take an exception through the stages as the engine does; every tool answers `output`."""
    events: list[NewEvent] = []
    for stage in (stage for stage in DECIDE if stage >= start):
        outcome = DECIDE[stage](record, pack_set, NOON)
        events += outcome.events
        record = applied(record, outcome)
        if outcome.finished is not None:
            return Walk(tuple(events), record, outcome.finished)
    plan = plan_id(record.exception_id, 1)
    reached = advance(record, pack_set, plan, NOON)
    while True:
        events += reached.events
        record = recorded(record, reached.steps)
        if not reached.calls:
            assert reached.finished is not None
            return Walk(tuple(events), record, reached.finished)
        reached = after_call(record, pack_set, plan, reached.calls[0], CallResult("ok", output), NOON)


def applied(record: ExceptionRecord, outcome: Outcome) -> ExceptionRecord:
    """The row after an outcome."""
    columns = ("exception_type", "severity", "confidence", "deadline_at", "raw_payload")
    changed = {name: getattr(outcome.changes, name) for name in columns if _is_set(outcome.changes, name)}
    if outcome.plan is not None:
        changed |= {"plan": outcome.plan, "step_results": {}}
    return recorded(replace(record, **changed), outcome.steps)


def recorded(record: ExceptionRecord, steps: Iterable[StepRecord]) -> ExceptionRecord:
    """The row after a decision that records steps."""
    return replace(record, step_results={**record.step_results, **{step.path: step.result for step in steps}})


def _is_set(changes: Changes, name: str) -> bool:
    return getattr(changes, name) is not None
