"""Batches as Celery chains: which queue, exchange and routing key each stage's message has.

The transport makes the routing key the Kafka record key, so the messages of a lane, or of an exception that
travels alone, meet the same partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery, chain
from celery.app.task import Context
from celery.canvas import maybe_signature
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from service.domain.exceptions import Stage
from service.engine.batch import Batch, describe, to_message
from service.errors import InfrastructureUnavailableError

EXCHANGE = Exchange("exceptions", type="topic")

STAGE_QUEUES = tuple(Queue(stage.queue, EXCHANGE, routing_key=f"{stage.queue}.#") for stage in Stage)


class BrokerUnavailableError(InfrastructureUnavailableError):
    """Kafka did not confirm a message."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"Kafka did not take the message ({cause}); check KAFKA_BOOTSTRAP_SERVERS and the brokers")


def task_name(stage: Stage) -> str:
    """The registered name of a stage's task."""
    return f"tasks.{stage.queue}"


def routing_key(stage: Stage, batch: Batch) -> str:
    """`<stage>.<lane>`, or `<stage>.<tenant>.<exception_id>` for an exception that travels alone.

    A part of a batch that did not survive has a key of its own: it neither blocks its lane nor another part.
    """
    if batch.lane is not None:
        return f"{stage.queue}.{batch.lane}"
    if batch.suspicion is not None and len(batch.references) > 1:
        return f"{stage.queue}.suspect.{batch.suspicion.origin}.{batch.suspicion.part}"
    reference = batch.references[0]
    return f"{stage.queue}.{reference.tenant_id}.{reference.exception_id}"


class ChainSender:
    """Sends batches on their way. Publishing returns when Kafka has confirmed, and raises when it did not."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, batch: Batch, first: Stage, **options: Any) -> None:
        """Send the chain from `first` to the last stage; `options` (countdown, retries) apply to the first task."""
        stages = [stage for stage in Stage if stage >= first]
        signatures = [self._signature(stage, batch) for stage in stages]
        signatures[0].set(argsrepr=f"({describe(batch)})", **options)
        signatures[0].args = (to_message(batch),)
        work = chain(*signatures) if len(signatures) > 1 else signatures[0]
        with _broker_errors():
            work.apply_async()

    def _signature(self, stage: Stage, batch: Batch) -> Any:
        return self._app.signature(
            task_name(stage),
            options={
                # The queue is named beside the exchange so that the publishing process knows the binding.
                "queue": stage.queue,
                "exchange": EXCHANGE.name,
                "routing_key": routing_key(stage, batch),
            },
        )


def send_on(request: Context, links: Sequence[Any], batch: Batch) -> None:
    """Send a batch to the next of a chain's links, as Celery does when a task of a chain has returned.

    `request` is the task's that the batch went through, and `links` what is left of its chain, the next one last.
    Raises BrokerUnavailableError.
    """
    following = maybe_signature(links[-1])
    with _broker_errors():
        following.apply_async(
            (to_message(batch),), chain=list(links[:-1]), parent_id=request.id, root_id=request.root_id or request.id
        )


@contextmanager
def _broker_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise BrokerUnavailableError(str(error)) from error
