"""Runs the tool stage: carries plans on, with every outside effect written down before and after.

No transaction is open while a tool is called. What goes out is committed as `sent` first; the answer is
applied together with the step it completes. A crash in between leaves `sent`, and the ledger's rule says
what the next delivery may do about it. A batch does not wait for slow tools: see `landing`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty

from sqlalchemy import Engine

from service.domain.packs.tools import ToolKind
from service.engine.batch import Batch, Reference
from service.engine.course import Flight
from service.engine.departures import Arrivals, Departure, Mailbox, depart, prepared
from service.engine.landing import Landing, Note, OnRetries
from service.engine.packs import PackSource
from service.engine.results import Retry, StageResult
from service.engine.runner import Clock
from service.engine.turns import Applied, Turns
from service.errors import InfrastructureUnavailableError
from service.persistence.stages import StageRepository
from service.persistence.unit_of_work import unit_of_work
from service.tools.admission import Admission
from service.tools.calls import ToolClient

SLICE = 200
"""Exceptions of one batch whose calls are under way together. The most effects that one killed worker leaves in
doubt are these and what its landing waits for, which the limits of calls under way bound."""

REFILL = 100
"""Exceptions that are started together once so many have landed: enough for one statement to be cheap."""

LONGEST_WAIT = 4
"""So many times its patience a batch waits while answers keep coming. A tool that works slowly but steadily must not
keep its lane for long either."""


IN_PROCESS = frozenset({ToolKind.PYTHON})
"""Kinds of tools whose code runs in the worker's process, and may end it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the tool stage waits for calls."""

    batch_seconds: float
    """A batch, for calls that have left; then it leaves them to the landing."""
    end_seconds: float
    """An ending process, for its landing."""
    longest_seconds: float
    """A delivery, at most, for a call that may take its process down."""

    def after_silence(self, attempt: int) -> float:
        """How long a delivery waits for a call that had no answer before: longer each time.

        A process that ends while a delivery waits is blamed on its exception, and one that ends later on nobody. So
        what crashes late is found out too, and what only hangs is not waited for long at once.
        """
        waited = self.batch_seconds * LONGEST_WAIT * 2.0 ** min(attempt - 2, 10)
        return max(self.batch_seconds, min(waited, self.longest_seconds))


class ToolStageRunner:
    """Carries a batch's plans on to their end, to a person, or to a failure.

    Raises InfrastructureUnavailableError when PostgreSQL is away; answers of calls that are out then, or came and
    could not be written down, are written down by the landing once it is back.
    """

    def __init__(
        self,
        engine: Engine,
        packs: PackSource,
        client: ToolClient,
        clock: Clock,
        admission: Admission,
        patience: Patience,
        retry: OnRetries,
        note: Note,
    ) -> None:
        """`retry` gets the attempts that failed after their batch was gone; `note` what the landing waits for."""
        self._engine = engine
        self._client = client
        self._admission = admission
        self._turns = Turns(engine, packs, clock, admission)
        self._patience = patience
        self.landing = Landing(self.land, self.depart, retry, note)

    def run(self, batch: Batch) -> StageResult:
        """Work every exception of the batch that is due at the tool stage."""
        retries = _Run(self, batch, self._patience, time.monotonic).carry_out()
        if batch.lane is not None and batch.batch_id is not None:
            with unit_of_work(self._engine) as transaction:
                StageRepository(transaction).batch_done(batch.lane, batch.batch_id)
        return StageResult(retries=tuple(retries))

    def close(self) -> int:
        """Wait for calls under way, as long as patience lasts; how many are left to the effect ledger."""
        return self.landing.close(self._patience.end_seconds)

    def is_slow(self, flight: Flight) -> bool:
        """Whether calls of this one's tool outlived their batch lately."""
        return self._admission.is_slow(prepared(flight))

    def outlived(self, flights: Sequence[Flight]) -> None:
        """Note that a batch waited for these calls in vain."""
        self._admission.outlived(prepared(flight) for flight in flights)

    def start(self, batch: Batch, *, in_company: bool) -> Applied:
        """Take each plan to its first calls, and commit which are about to go out."""
        return self._turns.start(batch, in_company=in_company)

    def depart(self, flights: Sequence[Flight], mailbox: Mailbox) -> Departure:
        """Make calls that were written down; their results arrive in the mailbox."""
        return depart(self._client, flights, mailbox)

    def land(self, landed: Arrivals) -> Applied:
        """Write answers down together with what follows from them."""
        applied = self._turns.land(landed)
        self._admission.settled((prepared(flight), result) for flight, result in landed)
        return applied

    def give_up(self, retries: Sequence[Retry]) -> tuple[Reference, ...]:
        """End the tries of calls, as the plans say; the exceptions whose plans go on, to be delivered again."""
        return self._turns.give_up(retries).onward


class _Run:
    """One batch on its way through the stage: calls are fed as answers come, and left behind when patience ends.

    Patience ends when no answer came for a while, or when the calls take too long altogether.
    """

    def __init__(self, stage: ToolStageRunner, batch: Batch, patience: Patience, clock: Callable[[], float]) -> None:
        self._stage = stage
        self._batch = batch
        self._after_silence = patience.after_silence
        self._quiet_seconds = patience.batch_seconds
        self._longest_seconds = LONGEST_WAIT * patience.batch_seconds
        self._clock = clock
        self._waiting = deque(batch.references)
        self._mailbox = Mailbox()
        self._departures: deque[Departure] = deque()
        self._under_way = 0
        self._started_at = self._heard_at = clock()
        self._retries: list[Retry] = []

    def carry_out(self) -> list[Retry]:
        """Until nothing is left to start and nothing to wait for; the attempts that failed."""
        try:
            while self._waiting or self._under_way:
                if self._waiting and self._under_way <= SLICE - min(REFILL, len(self._waiting)):
                    self._start()
                else:
                    self._receive()
        except InfrastructureUnavailableError:
            self._save_answers()
            raise
        return self._retries

    def _start(self) -> None:
        count = min(SLICE - self._under_way, len(self._waiting))
        references = [self._waiting.popleft() for _ in range(count)]
        in_company = len(references) < len(self._batch.references)
        started = self._stage.start(self._batch.of(references), in_company=in_company)
        self._retries += started.retries
        self._started_at = self._heard_at = self._clock()
        self._leave(started.flights)

    def _leave(self, flights: Sequence[Flight]) -> None:
        """Make calls; nobody waits for those of a tool that kept a batch waiting lately."""
        slow: list[Flight] = []
        quick: list[Flight] = []
        for flight in flights:
            if flight.unanswered and flight.call.kind in IN_PROCESS:
                self._quiet_seconds = max(self._quiet_seconds, self._after_silence(flight.attempt))
                self._longest_seconds = max(self._longest_seconds, self._quiet_seconds)
                quick.append(flight)
            else:
                (slow if self._stage.is_slow(flight) else quick).append(flight)
        self._stage.landing.leave(slow)
        if quick:
            self._departures.append(self._stage.depart(quick, self._mailbox))
            self._under_way += len(quick)

    def _receive(self) -> None:
        """Write down what arrived, or give up waiting."""
        try:
            arrivals = self._mailbox.get(timeout=max(0.0, self._patience_ends() - self._clock()))
        except Empty:
            self._hand_over()
            return
        heard_at = self._clock()
        self._under_way -= len(arrivals)
        try:
            landed = self._stage.land(arrivals)
        except InfrastructureUnavailableError:
            self._mailbox.put(arrivals)
            raise
        self._retries += landed.retries
        self._leave(landed.flights)
        # What the stage itself takes for an answer is no waiting: a busy worker must not take its tools for slow.
        self._heard_at = self._clock()
        self._started_at += self._heard_at - heard_at

    def _patience_ends(self) -> float:
        return min(self._heard_at + self._quiet_seconds, self._started_at + self._longest_seconds)

    def _hand_over(self) -> None:
        """Leave what is under way to the landing. What was delivered before stays in the mailbox."""
        left = self._left_behind()
        self._under_way -= len(left)
        self._stage.outlived(left)

    def _left_behind(self) -> list[Flight]:
        left: list[Flight] = []
        while self._departures:
            left += self._stage.landing.adopt(self._departures.popleft())
        return left

    def _save_answers(self) -> None:
        """The delivery ends in an outage, and its calls do not: the landing writes down what came of them.

        Otherwise what is known here would be in doubt afterwards.
        """
        self._left_behind()
        arrivals: Arrivals = []
        with suppress(Empty):
            while True:
                arrivals += self._mailbox.get_nowait()
        self._stage.landing.take(arrivals)
