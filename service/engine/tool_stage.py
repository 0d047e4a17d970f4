"""Runs the tool stage: carries plans on, with every outside effect written down before and after.

No transaction is open while a tool is called. What goes out is committed as `sent` first; the answer is
applied together with the step it completes. A crash in between leaves `sent`, and the ledger's rule says
what the next delivery may do about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from service.domain.exceptions import PackVersions, Stage
from service.domain.guard import FINISHED
from service.domain.packs import PackSet
from service.engine.batch import Batch, Reference
from service.engine.failures import as_dead_letters
from service.engine.flights import Flight, Turn
from service.engine.packs import NoActivePackError, PackSource
from service.engine.results import Retry, StageResult
from service.engine.runner import Clock, judge_batch
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.tools.calls import PreparedCall, ToolClient, ToolResult
from service.tools.egress import rules_of

SLICE = 200
"""Exceptions whose calls are under way together: the most effects one killed worker leaves in doubt."""


class ToolStageRunner:
    """Carries a batch's plans on to their end, to a person, or to a failure.

    Raises InfrastructureUnavailableError when PostgreSQL is away; effects already sent are then resolved by the
    ledger at the next delivery.
    """

    def __init__(self, engine: Engine, packs: PackSource, client: ToolClient, clock: Clock) -> None:
        self._engine = engine
        self._packs = packs
        self._client = client
        self._clock = clock

    def run(self, batch: Batch) -> StageResult:
        """Work every exception of the batch that is due at the tool stage."""
        retries: list[Retry] = []
        for start in range(0, len(batch.references), SLICE):
            retries += self._slice(batch.of(batch.references[start : start + SLICE]))
        if batch.lane is not None and batch.batch_id is not None:
            with unit_of_work(self._engine) as transaction:
                StageRepository(transaction).batch_done(batch.lane, batch.batch_id)
        return StageResult(retries=tuple(retries))

    def _slice(self, batch: Batch) -> list[Retry]:
        flights, retries = self._start(batch)
        while flights:
            following: list[Flight] = []
            by_key = {flight.key: flight for flight in flights}
            calls = [PreparedCall(f.key, f.reference.tenant_id, f.call, rules_of(f.packs.tenant)) for f in flights]
            for group in self._client.results(calls):
                landed = [(by_key[result.key], result) for result in group]
                onward, failed = self._land(landed)
                following += onward
                retries += failed
            flights = following
        return retries

    def _start(self, batch: Batch) -> tuple[list[Flight], list[Retry]]:
        """Take each plan to its first call, and commit which calls are about to go out."""
        now = self._clock()
        with unit_of_work(self._engine, batch.tenants()) as transaction:
            repository = StageRepository(transaction)
            ids = [reference.exception_id for reference in batch.references]
            judged = judge_batch(Stage.TOOL, batch, repository.load(Stage.TOOL, ids))
            effects = repository.effects([r.exception_id for r, _ in judged.work]) if judged.work else {}
            turn = Turn(now, effects)
            for reference, loaded in judged.work:
                turn.begin(reference, loaded, self._pack_set(transaction, reference, loaded.record.pack_versions))
            turn.early(judged.early)
            return self._apply(repository, turn)

    def _land(self, landed: Sequence[tuple[Flight, ToolResult]]) -> tuple[list[Flight], list[Retry]]:
        """Write answers down together with what follows from them."""
        now = self._clock()
        turn = Turn(now, {})
        for flight, result in landed:
            turn.land(flight, result)
        with unit_of_work(self._engine, {flight.reference.tenant_id for flight, _ in landed}) as transaction:
            return self._apply(StageRepository(transaction), turn)

    def _apply(self, repository: StageRepository, turn: Turn) -> tuple[list[Flight], list[Retry]]:
        """Apply a turn. Only exceptions that really moved fly on: for the others another delivery is ahead."""
        moved = repository.apply(Stage.TOOL, turn.decisions, turn.now) if turn.decisions else []
        there = {m.exception_id for m in moved}
        if turn.failures:
            repository.dead_letter(Stage.TOOL, as_dead_letters(turn.failures), turn.now)
        repository.open_gates([m for m in moved if m.stage_now == FINISHED], turn.now)
        return [f for f in turn.flights if f.reference.exception_id in there], turn.retries

    def _pack_set(self, transaction: Transaction, reference: Reference, versions: PackVersions | None) -> PackSet:
        if versions is None:
            raise NoActivePackError(reference.tenant_id)
        return self._packs.at(transaction, reference.tenant_id, versions)
