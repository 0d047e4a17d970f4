"""Plans on a real database with a worker whose tools follow a script, and that may die at any moment.

The worker is the engine's transactions and nothing else: no threads, no broker, and a clock that the test moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from service.domain.events import EventType
from service.domain.exceptions import InputType, PackVersions, Stage
from service.domain.packs import PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.stages import DECIDE
from service.engine import turns as turns_module
from service.engine.batch import Batch, Reference
from service.engine.course import Flight
from service.engine.packs import PackSource
from service.engine.runner import StageRunner
from service.engine.turns import Applied, Turns
from service.persistence.ingestion import Ingestion, NewException, NewInput
from service.persistence.packs import StoredPacks
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.tools.admission import AdmitAll
from service.tools.calls import Answer, ToolResult
from service.wiring import new_id
from tests.tenants import TestTenant, new_tenant

LANE = 252
"""A lane that no running dispatcher serves."""

ONCE, AGAIN = "postCashAdjustment", "retrySettlement"
"""A tool that works every call, and one that ignores a repeated key. The tenant's pack approves both."""

TOOLS = {
    ONCE: {"parameters": {}, "endpoint": "https://tools.example/once", "idempotent": False, "maxRetries": 2},
    AGAIN: {"parameters": {}, "endpoint": "https://tools.example/again", "idempotent": True, "maxRetries": 2},
}


class WorkerDiedError(Exception):
    """The worker process was killed here."""


def call(order: int, tool: str, key: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A step that calls a tool; later steps know its answer by `key`."""
    params = {"tool": tool, "parameters": dict(parameters or {})}
    return {"step_order": order, "name": key, "key": key, "action_type": "call_tool", "params": params, **more}


def tenant_with(system: Engine, steps: Sequence[Mapping[str, Any]]) -> TestTenant:
    """A tenant whose every STALE_PRICE_ALERT gets a plan of these steps."""

    def adjust(domain: dict[str, Any]) -> None:
        domain["tools"] = {**domain["tools"], **TOOLS}
        domain["playbooks"] = [{"name": "tested", "exceptionType": "STALE_PRICE_ALERT", "steps": list(steps)}]
        domain["testSuites"] = []

    return new_tenant(system, adjust=adjust)


def built(domain: Mapping[str, Any], tenant: Mapping[str, Any], versions: PackVersions) -> PackSet:
    """Two packs, joined and compiled."""
    return build_pack_set(parse_domain_pack(domain, _VARIABLES), parse_tenant_pack(tenant), versions)


Script = Callable[[Flight, int], ToolResult]
"""What a tool answers to a call that it is asked for the n-th time, from 1."""


def confirmed(flight: Flight, output: Any = None) -> ToolResult:
    """The tool worked it."""
    return ToolResult(flight.key, Answer.CONFIRMED, output={"of": flight.step.path} if output is None else output)


def always_confirmed(flight: Flight, _times: int) -> ToolResult:
    """Every call is worked."""
    return confirmed(flight)


@dataclass
class World:
    """One tenant's exceptions, the tools, and workers that are killed at the `dies_at`-th moment."""

    application: Engine
    system: Engine
    tenant: TestTenant
    script: Script = always_confirmed
    random: Random = field(default_factory=lambda: Random(0))
    dies_at: int | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    worked: list[str] = field(default_factory=list)
    """Keys in the order in which tools worked them."""
    asked: dict[str, int] = field(default_factory=dict)
    most_out: int = 0
    resent: list[str] = field(default_factory=list)
    """Paths of steps that a person had sent once more."""
    _moments: int = 0

    def __post_init__(self) -> None:
        packs = PackSource(StoredPacks(), built)
        self._deciding = StageRunner(self.application, packs, DECIDE, lambda: self.now)
        self.turns = Turns(self.application, packs, lambda: self.now, AdmitAll())

    def accepted(self) -> Reference:
        """An exception, as the API accepts it and a dispatcher takes it."""
        exception_id = new_id()
        item = NewException(
            str(exception_id), LANE, str(uuid4()), "test", {"price": 1}, exception_type="STALE_PRICE_ALERT"
        )
        with self._transaction() as transaction:
            Ingestion(transaction, self.tenant.tenant_id, self.now).accept([item])
            transaction.run("DELETE FROM outbox WHERE exception_id = %(id)s", {"id": str(exception_id)})
        return Reference(self.tenant.tenant_id, exception_id, 1)

    def planned(self) -> Reference:
        """An exception whose plan is made."""
        reference = self.accepted()
        for stage in (Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK):
            self._deciding.run(stage, Batch.single(reference))
        return reference

    def decide(self, stage: Stage, batch: Batch) -> None:
        """One delivery at a stage before the tools."""
        self._deciding.run(stage, batch)

    def told(self, reference: Reference, kind: InputType, data: Mapping[str, Any]) -> Reference:
        """A later input, worked up to the tool stage."""
        with self._transaction() as transaction:
            ingestion = Ingestion(transaction, self.tenant.tenant_id, self.now)
            locked = ingestion.lock(reference.exception_id)
            assert locked is not None
            new = NewInput(kind, data, EventType.EXCEPTION_UPDATED, {"type": kind.value}, "ann")
            sequence = ingestion.append(locked, new)
            transaction.run("DELETE FROM outbox WHERE exception_id = %(id)s", {"id": str(reference.exception_id)})
        later = Reference(reference.tenant_id, reference.exception_id, sequence)
        self._deciding.run(Stage.PLAYBOOK, Batch.single(later))
        return later

    def delivered(self, *references: Reference) -> Applied:
        """One delivery at the tool stage, until nothing is under way; what is to come back."""
        turn = self.turns.start(Batch(references))
        flights, retries = list(turn.flights), list(turn.retries)
        answers: list[tuple[Flight, ToolResult]] = []
        while flights or answers:
            self.most_out = max(self.most_out, len(flights) + len(answers))
            answers += [(flight, self._called(flight)) for flight in flights]
            self.random.shuffle(answers)
            count = self.random.randint(1, len(answers))
            together, answers = answers[:count], answers[count:]
            turn = self.turns.land(together)
            flights = list(turn.flights)
            retries += turn.retries
        return Applied(retries=tuple(retries))

    def worked_out(self, reference: Reference) -> Reference:
        """Deliveries after one another, each when leases are over, until the exception rests; a person says the truth
        about every effect that is in doubt."""
        for _ in range(30):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(turns_module, "unit_of_work", self._mortal)
                try:
                    self.delivered(reference)
                except WorkerDiedError:
                    self.dies_at = None
            self.now += timedelta(minutes=10)
            doubtful = self.rows("SELECT step, idempotency_key FROM tool_executions WHERE {own} AND state = 'unknown'")
            if self.status(reference) == "PENDING_STEP" and doubtful:
                step, key = doubtful[0]
                happened = str(key) in self.worked
                self.resent += [] if happened else [step]
                known = {"verdict": "done", "output": {"of": step}} if happened else {"verdict": "resend"}
                said = {"step": step, "comment": "I looked", **known}
                reference = self.told(reference, InputType.EFFECT_RESOLVED, said)
            elif self.status(reference) != "IN_PROGRESS":
                return reference
        raise AssertionError(f"it never came to rest: {self.status(reference)}")

    def moments(self) -> int:
        """At how many moments a worker could have died so far."""
        return self._moments

    def status(self, reference: Reference) -> str:
        """Where the exception is."""
        return str(self.rows("SELECT status FROM exceptions WHERE {own}", reference)[0][0])

    def events(self, *types: str) -> list[tuple[str, Any]]:
        """The events of these types, of the newest exception, in order."""
        statement = "SELECT type, data FROM events WHERE {own} AND type = ANY(%(types)s) ORDER BY position"
        return [(row[0], row[1]) for row in self.rows(statement, types=list(types))]

    def rows(self, statement: str, reference: Reference | None = None, **parameters: Any) -> Sequence[Any]:
        """Rows of this tenant's exceptions, or of one; `{own}` stands for which."""
        own = "tenant_id = %(tenant)s" + ("" if reference is None else " AND exception_id = %(id)s")
        given = {"tenant": self.tenant.tenant_id, "id": reference and str(reference.exception_id), **parameters}
        with unit_of_work(self.system) as transaction:
            return transaction.rows(statement.replace("{own}", own), given)

    def _called(self, flight: Flight) -> ToolResult:
        self._moment()
        times = self.asked[flight.key] = self.asked.get(flight.key, 0) + 1
        result = self.script(flight, times)
        if result.answer is Answer.CONFIRMED and (flight.key not in self.worked or not flight.call.idempotent):
            self.worked.append(flight.key)
        self._moment()
        return result

    @contextmanager
    def _mortal(self, engine: Engine, tenants: Any = ()) -> Iterator[Transaction]:
        """A unit of work whose worker may die just before it commits, and just after."""
        with unit_of_work(engine, tenants) as transaction:
            yield transaction
            self._moment()
        self._moment()

    def _moment(self) -> None:
        if self.dies_at == self._moments:
            self._moments += 1
            raise WorkerDiedError
        self._moments += 1

    def _transaction(self) -> Any:
        return unit_of_work(self.application, [self.tenant.tenant_id])


_VARIABLES = {"toolServerUrl": "https://tools.example"}
