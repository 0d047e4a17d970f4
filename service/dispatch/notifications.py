"""What the dispatcher does about notifications: hands those that are due to workers, which send them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import Engine

from service.dispatch.chains import EXCHANGE, BrokerUnavailableError
from service.domain.exceptions import Stage
from service.domain.pauses import NOTHING_PAUSED, PausesInForce
from service.errors import PoisonError
from service.persistence.notifications import NotificationReference, hand_out
from service.persistence.unit_of_work import unit_of_work

TASK = "tasks.notify"

AT_ONCE = 500
"""The most that one look hands out."""

A_MESSAGE = 100
"""The most that one message carries."""

AGAIN_AFTER_SECONDS = 30.0
"""What was handed out and not taken is handed out once more after this."""

Send = Callable[[Sequence[NotificationReference]], None]


class MessageUnreadableError(PoisonError):
    """The argument of a notification task is none."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"this message holds no references to notifications ({cause}); who sent it?")


@dataclass(frozen=True, slots=True)
class DueNotifications:
    """A chore of the dispatcher. `engine` acts as SYSTEM."""

    engine: Engine
    send: Send
    now: Callable[[], datetime]
    pauses: Callable[[], PausesInForce] = lambda: NOTHING_PAUSED

    def __call__(self) -> int:
        """Hand out what is due; how much. Without any, it is one probe of an index. A drain hands out nothing.

        Taking and sending are one transaction: if the dispatcher dies between the two, rows are handed out again, and
        the worker's claim keeps the second message from sending.
        """
        paused = self.pauses()
        if paused.dispatching is not None:
            return 0
        with unit_of_work(self.engine) as transaction:
            references = hand_out(transaction, self.now(), AT_ONCE, AGAIN_AFTER_SECONDS, paused.tenants)
            for start in range(0, len(references), A_MESSAGE):
                self.send(references[start : start + A_MESSAGE])
        return len(references)


@dataclass(frozen=True, slots=True)
class NotificationSender:
    """Sends references to a worker. Returns when Kafka has confirmed, and raises BrokerUnavailableError otherwise."""

    app: Celery

    def __call__(self, references: Sequence[NotificationReference]) -> None:
        """Send one message."""
        first = references[0]
        try:
            self.app.signature(TASK).apply_async(
                args=(to_message(references),),
                argsrepr=f"({len(references)} notifications)",
                queue=Stage.TOOL.queue,
                exchange=EXCHANGE.name,
                routing_key=f"{Stage.TOOL.queue}.{first.tenant_id}.{first.exception_id}",
                expires=AGAIN_AFTER_SECONDS,
            )
        except OperationalError as error:
            raise BrokerUnavailableError(str(error)) from error


def to_message(references: Sequence[NotificationReference]) -> dict[str, Any]:
    """The JSON-ready form that the task carries."""
    rows = [[r.tenant_id, str(r.exception_id), r.position, r.policy, r.claim] for r in references]
    return {"notifications": rows}


def from_message(message: Mapping[str, Any]) -> list[NotificationReference]:
    """What `to_message` wrote. Raises MessageUnreadableError for anything else."""
    try:
        return [
            NotificationReference(tenant, UUID(exception_id), position, policy, claim)
            for tenant, exception_id, position, policy, claim in message["notifications"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MessageUnreadableError(f"{type(error).__name__}: {error}") from error
