"""The repository of the stage engine: a batch's rows in, its decisions out. It never commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.domain.exceptions import Stage
from service.persistence.loading import LoadedException, loaded_exception
from service.persistence.sealing import PAYLOAD
from service.persistence.statements import applying, failing, loading
from service.persistence.unit_of_work import Transaction, as_bytea, as_json


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the effect ledger."""

    state: str
    attempt: int
    lease_until: datetime | None
    output: Any
    plan_id: UUID | None = None
    step: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """An exception that a decision really moved."""

    exception_id: UUID
    sequence: int
    last_sequence: int
    stage_now: int


class StageRepository:
    """What a stage reads and writes, one statement for a whole batch each."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def load(self, stage: Stage, ids: Iterable[UUID], first: bool = False) -> dict[UUID, LoadedException]:
        """The rows of a batch, locked in id order. Rows of undeclared tenants are not there.

        `first`: the delivery is about first inputs, so what only later ones need is not looked for.
        """
        statement = loading.LOAD_FIRST if first and stage is not Stage.TOOL else loading.LOAD[stage]
        return self._loaded(statement, ids)

    def load_redriven(self, ids: Iterable[UUID]) -> dict[UUID, LoadedException]:
        """Rows that `load` has locked, of inputs that were sent again, with the plan that may be there from before."""
        return self._loaded(loading.LOAD_REDRIVEN, ids)

    def forget_steps(self, plans: Sequence[UUID]) -> None:
        """Forget what is recorded of the steps of plans that are about to be made anew, and their timers."""
        self._transaction.run(applying.FORGET_STEPS, {"plans": [str(plan) for plan in plans]})

    def look(self, ids: Iterable[UUID]) -> dict[UUID, LoadedException]:
        """As `load` at intake, for those who only look: nothing is locked, and nobody waits.

        Raises what `fault` would tell.
        """
        loaded = self._loaded(loading.LOOK, ids)
        for one in loaded.values():
            if one.fault is not None:
                raise one.fault
        return loaded

    def _loaded(self, statement: str, ids: Iterable[UUID]) -> dict[UUID, LoadedException]:
        sealing = self._transaction.sealing
        rows = self._transaction.rows(statement, {"ids": [str(i) for i in ids]})
        loaded = [loaded_exception(row, sealing) for row in rows]
        return {one.record.exception_id: one for one in loaded}

    def effects(self, ids: Iterable[UUID]) -> dict[UUID, dict[str, Effect]]:
        """Every effect of these exceptions so far, by exception and idempotency key."""
        found: dict[UUID, dict[str, Effect]] = {}
        for row in self._transaction.rows(loading.LOAD_EFFECTS, {"ids": [str(i) for i in ids]}):
            effect = Effect(row.state, row.attempt, row.lease_until, row.output, row.plan_id, row.step)
            found.setdefault(row.exception_id, {})[str(row.idempotency_key)] = effect
        return found

    def results(self, ids: Iterable[UUID]) -> dict[tuple[UUID, UUID], Any]:
        """Large results, by the exception they belong to and their id."""
        rows = self._transaction.rows(loading.LOAD_RESULTS, {"ids": [str(i) for i in ids]})
        return {(row.exception_id, row.result_id): row.document for row in rows}

    def apply(self, stage: Stage, decisions: Sequence[Mapping[str, Any]], now: datetime) -> list[Moved]:
        """Write decisions; the rows that come back are the ones that really moved.

        A decision's keys are the columns of the statement's record, and the names of PARTS for its lists of rows,
        in `service.persistence.statements.applying`. One exception may have one decision in a statement.
        """
        if stage is Stage.INTAKE:
            decisions = [self._sealed(one) if "raw_payload" in one else one for one in decisions]
        moves, parts = _divided(decisions)
        next_stage = stage if stage is Stage.TOOL else stage + 1
        parameters = {"decisions": as_json(moves), "stage": int(stage), "next_stage": int(next_stage), "now": now}
        parameters |= {name: as_json(rows) for name, rows in parts.items()}
        approvals = stage in _ASKING and any(d["sequence"] > 1 or "approval" in d for d in decisions)
        rows = self._transaction.rows(applying.apply(stage, tuple(parts), approvals), parameters)
        return [Moved(row.exception_id, row.sequence, row.last_sequence, row.stage_now) for row in rows]

    def _sealed(self, decision: Mapping[str, Any]) -> Mapping[str, Any]:
        """A decision whose payload is sealed for its row."""
        opened = dict(decision)
        tenant, payload = opened.pop("tenant_id"), opened.pop("raw_payload")
        sealed = self._transaction.sealing.seal(tenant, opened["id"].bytes, PAYLOAD, payload)
        return opened | {"sealed_payload": as_bytea(sealed)}

    def open_gates(self, finished: Sequence[Moved], now: datetime) -> None:
        """Make the next input of each finished exception ready, where one waits, and wake the dispatchers."""
        waiting = [{"id": m.exception_id, "sequence": m.sequence} for m in finished if m.last_sequence > m.sequence]
        if waiting:
            self._transaction.run(applying.OPEN_GATE, {"finished": as_json(waiting), "now": now})
            self._transaction.run("SELECT pg_notify('outbox', '')")

    def record_retries(self, stage: Stage, retries: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Note failed attempts: {id, sequence, attempt, rate_limited, retry_at, data} each."""
        self._transaction.run(failing.RECORD_RETRIES, {"decisions": as_json(retries), "stage": int(stage), "now": now})

    def dead_letter(
        self,
        stage: Stage,
        failures: Sequence[Mapping[str, Any]],
        now: datetime,
        notices: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Give exceptions up: {id, sequence, attempts, error_class, message} each; `notices`: whom to tell of it."""
        parameters = {"decisions": as_json(failures), "stage": int(stage), "now": now}
        if notices:
            self._transaction.run(failing.DEAD_LETTER_TELLING, {**parameters, "notices": as_json(notices)})
        else:
            self._transaction.run(failing.DEAD_LETTER, parameters)

    def batch_done(self, lane: int, batch_id: str) -> None:
        """Tell the lane's dispatcher, at commit, that this batch needs its place no more."""
        self._transaction.run("SELECT pg_notify('lanes', %(payload)s)", {"payload": f"{lane}:{batch_id}"})


def _divided(
    decisions: Sequence[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Decisions without their lists of rows, and those rows by part."""
    moves: list[Mapping[str, Any]] = []
    parts: dict[str, list[dict[str, Any]]] = {}
    for decision in decisions:
        present = applying.PARTS.keys() & decision.keys()
        for name in present:
            parts.setdefault(name, []).extend(decision[name])
        moves.append({key: value for key, value in decision.items() if key not in present} if present else decision)
    return moves, {name: parts[name] for name in applying.PARTS if parts.get(name)}


_ASKING = (Stage.POLICY, Stage.PLAYBOOK)
"""Stages that may ask a person, or end that one is asked."""
