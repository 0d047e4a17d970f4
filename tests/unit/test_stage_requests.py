"""Deliveries as the worker's main process sees them: ends are remembered, what fails is refused with its reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from billiard.einfo import ExceptionInfo
from celery.exceptions import TimeLimitExceeded, WorkerLostError

from service.engine.batch import BatchUnreadableError
from tasks import app
from tasks.requests import StageRequest, earlier_end
from tasks.triage import triage


class Broker:
    """What a delivery was answered with."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def acknowledge(self, *_: Any) -> None:
        self.answers.append("acknowledged")

    def reject(self, _logger: Any, _errors: Any, requeue: bool) -> None:
        self.answers.append("requeued" if requeue else "refused")


def delivery(broker: Broker, message_id: str) -> StageRequest:
    message = SimpleNamespace(
        headers={"id": message_id, "task": "tasks.triage", "ignore_result": True},
        body=b"",
        payload=[[], {}, {}],
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={},
        properties={},
        refusal="",
    )
    return StageRequest(
        message, on_ack=broker.acknowledge, on_reject=broker.reject, app=app, task=app.tasks[triage.name]
    )


def raised(error: Exception) -> ExceptionInfo:
    try:
        raise error
    except type(error):
        return ExceptionInfo()


def test_a_process_that_died_is_told_of_to_the_next_delivery_and_to_no_other() -> None:
    broker, message_id = Broker(), str(uuid4())
    one = delivery(broker, message_id)
    one.worker_pid = 77
    # when its pool process dies
    one.on_failure(raised(WorkerLostError("Worker exited prematurely: signal 11 (SIGSEGV) Job: 1.")))
    # then it is delivered again, and knows
    assert broker.answers == ["requeued"]
    again = delivery(broker, message_id)
    assert earlier_end(again.request_dict["delivery_info"]) == {
        "how": "signal 11 (SIGSEGV)",
        "own": True,
        "process": 77,
    }
    assert earlier_end(delivery(broker, message_id).request_dict["delivery_info"]) is None


def test_a_time_limit_ends_no_message() -> None:
    broker, message_id = Broker(), str(uuid4())
    one = delivery(broker, message_id)
    # when the pool ends it at its time limit, which it tells twice
    one.on_failure(raised(TimeLimitExceeded(15.0)))
    one.on_timeout(False, 15.0)
    # then it is delivered again, once
    assert broker.answers == ["requeued"]
    end = earlier_end(delivery(broker, message_id).request_dict["delivery_info"])
    assert end is not None
    assert end["how"] == "time limit of 15 s"


def test_what_cannot_be_worked_is_refused_with_the_reason() -> None:
    broker = Broker()
    one = delivery(broker, str(uuid4()))
    one.on_failure(raised(BatchUnreadableError("KeyError: 'references'")), return_ok=True)
    assert broker.answers == ["refused"]
    assert "not a batch of references" in one.message.refusal
