"""What the five stage tasks have in common: run the engine, split failures off, hand survivors on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from celery import Task
from celery.exceptions import Reject

from service.dispatch.chains import BrokerUnavailableError, send_on
from service.domain.exceptions import Stage
from service.engine.batch import Batch, describe, from_message, to_message
from service.engine.pipeline import Pipeline
from service.engine.results import Retry, StageResult
from service.engine.suspicion import Suspicion
from service.errors import InfrastructureUnavailableError, TransientError
from tasks.isolating import begun, failed, isolate
from tasks.outages import hand_back, wait_for_postgresql
from tasks.retrying import give_up_exhausted, next_attempt, schedule, split_off

log = logging.getLogger(__name__)


class AttemptFailedError(TransientError):
    """Carries one exception's failed attempt to Celery's autoretry."""

    def __init__(self, stage: Stage, retry: Retry, suspicion: Suspicion | None = None) -> None:
        super().__init__(str(retry.error))
        self.stage = stage
        self.retry = retry
        self.suspicion = suspicion


class StageTask(Task):
    """A stage over a batch.

    In a batch, an exception that fails is split off and retried alone, beginning at this stage. Alone, its
    failure is raised and Celery's autoretry schedules the next attempt. A delivery that did not survive is divided when
    it comes again.

    An outage of infrastructure fails the whole delivery and counts as nobody's attempt. Without PostgreSQL it waits
    in the transport's delay; without Kafka it stays unacknowledged and is delivered again, which is why the next link
    of the chain is sent here, while the delivery can still be handed back: what Celery sends after the task's end is
    gone when that fails.
    """

    abstract = True
    Request = "tasks.requests:StageRequest"
    acks_on_timeout = False
    """What hangs is delivered again, and divided."""
    acks_on_failure = False
    """A message that cannot be worked at all goes to the transport's dead letters, with its bytes and the reason."""

    def run_stage(self, stage: Stage, message: Mapping[str, Any]) -> None:
        """Run `stage` and send the survivors on to the next link; without any the chain ends."""
        with self.app.watchdog.watching(self.time_limit):
            self._run_stage(stage, from_message(message))

    def _run_stage(self, stage: Stage, batch: Batch) -> None:
        death = begun(self._pipeline, stage, batch, self.request)
        if death is not None:
            batch = isolate(self.app, self._pipeline, stage, batch, death)
        result = self._worked(stage, batch) if batch.references else StageResult()
        self._handle_failures(stage, batch, result)
        links, self.request.chain = self.request.chain, None
        if result.survivors and links:
            send_on(self.request, links, batch.onward(result.survivors))

    def _worked(self, stage: Stage, batch: Batch) -> StageResult:
        """The engine's result. What fails the batch as a whole is looked for in it, as what kills its process is."""
        try:
            result = self._pipeline.run(stage, batch)
        except TransientError:
            self._left_undone()
            raise
        except (Exception, MemoryError) as error:
            log.exception("stage %s failed on %s", stage.queue, describe(batch))
            isolate(self.app, self._pipeline, stage, batch, failed(error, self.request))
            return StageResult()
        if result.retries:
            self._left_undone()
        return result

    def _left_undone(self) -> None:
        """Keep the journal from taking what comes again for what its process died of."""
        try:
            self._pipeline.isolation.journal.end()
        except InfrastructureUnavailableError as error:
            log.warning("the journal of deliveries is out of reach: %s", error)

    def _handle_failures(self, stage: Stage, batch: Batch, result: StageResult) -> None:
        due = give_up_exhausted(self._pipeline, stage, result.retries)
        if batch.lane is None and len(batch.references) == 1 and due:
            raise AttemptFailedError(stage, due[0], batch.suspicion)
        split_off(self.app, self._pipeline, stage, due)

    def retry(self, args: Any = None, kwargs: Any = None, exc: Any = None, **options: Any) -> Any:
        """Schedule the next attempt, with the exception's own count of attempts moved on and noted.

        After an outage it is the same delivery once more. Raises Reject to have it delivered again where Kafka takes
        no message.
        """
        if isinstance(exc, BrokerUnavailableError):
            self._left_undone()
            raise hand_back(exc)
        if isinstance(exc, AttemptFailedError):
            try:
                due = schedule(exc.stage, exc.retry)
                self._pipeline.note_retries(exc.stage, [due])
                options["countdown"] = due.delay_seconds
                args = (to_message(Batch.single(next_attempt(exc.retry), exc.suspicion)),)
            except InfrastructureUnavailableError as outage:
                exc = outage
        if isinstance(exc, InfrastructureUnavailableError):
            options["countdown"] = wait_for_postgresql()
        try:
            return super().retry(args=args, kwargs=kwargs, exc=exc, **options)
        except Reject as rejected:
            # Celery gives a retry up that it could not send.
            self._left_undone()
            raise hand_back(rejected) from rejected

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """As Celery's, with arguments that read as what they are in Flower and in logs."""
        if args and isinstance(args[0], Mapping):
            options["argsrepr"] = f"({describe(from_message(args[0]))})"
        return super().apply_async(args, kwargs, **options)

    @property
    def _pipeline(self) -> Pipeline:
        pipeline: Pipeline = self.app.pipeline.get()
        return pipeline
