"""Pauses as a process that works sees them: looked up at most once a second, and obeyed before a stage begins.

A dispatcher leaves what is paused in the outbox; this holds what was under way already when the switch was thrown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from threading import Lock

from sqlalchemy import Engine

from service.domain.exceptions import Stage
from service.domain.pauses import NOTHING_PAUSED, PausesInForce
from service.engine.batch import Batch
from service.engine.holds import Hold, as_rows
from service.errors import InfrastructureUnavailableError
from service.persistence import pauses
from service.persistence.holds import hold
from service.persistence.unit_of_work import unit_of_work

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How long what was seen is taken for true: a pause takes effect that late."""


class PauseWatch:
    """What is paused, as one process knows it. Safe for several threads."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._seen = NOTHING_PAUSED
        self._look_at = float("-inf")
        self._lock = Lock()

    def __call__(self) -> PausesInForce:
        """The pauses in force. While PostgreSQL is away, those that were seen last: what needs it fails by itself."""
        if self._clock() < self._look_at:
            return self._seen
        with self._lock:
            if self._clock() >= self._look_at:
                self._look()
        return self._seen

    def _look(self) -> None:
        try:
            with unit_of_work(self._engine) as transaction:
                seen = pauses.in_force(transaction, of_everybody=True)
        except InfrastructureUnavailableError:
            return
        self._look_at = self._clock() + LOOK_SECONDS
        for pause in {p.pause_id: p for p in seen.pauses}.keys() ^ {p.pause_id: p for p in self._seen.pauses}.keys():
            log.info("pause %s has begun or ended", pause)
        self._seen = seen


class PausedWork:
    """Puts aside what is paused before a stage begins. `engine` acts as APPLICATION."""

    def __init__(self, engine: Engine, watch: Callable[[], PausesInForce], clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._watch = watch
        self._clock = clock

    def put_aside(self, stage: Stage, batch: Batch) -> Batch:
        """The batch without what a pause stops at this stage: that waits in the outbox until the pause is over.

        What is not due at this stage (a second delivery) stays in the batch, for it is not worked here anyway.
        """
        paused = self._watch()
        if not paused:
            return batch
        stopped = [(r, p) for r in batch.references if (p := paused.of_work(r.tenant_id, stage)) is not None]
        if not stopped:
            return batch
        rows = as_rows((Hold(reference, None, pause.sentence, 0.0, pause) for reference, pause in stopped), lambda: 0.0)
        with unit_of_work(self._engine, {reference.tenant_id for reference, _ in stopped}) as transaction:
            held = hold(transaction, stage, rows, self._clock())
        return batch.of([reference for reference in batch.references if reference.exception_id not in held])
