"""Routing keys: work on one exception always has the same key, so it meets the same partition in order."""

from __future__ import annotations

from uuid import UUID

import pytest
from celery import Celery

from service.dispatch.chains import STAGE_QUEUES, BrokerUnavailableError, ChainSender, routing_key
from service.domain.exceptions import Stage
from service.engine.batch import Batch, Reference

EXCEPTION = UUID("01a205fa-d6df-711c-aa66-0f7af530e991")
REFERENCE = Reference("T1", EXCEPTION, 1)


def test_a_lane_s_batches_share_a_key_in_each_stage() -> None:
    batch = Batch((REFERENCE,), lane=3, batch_id="b")
    assert [routing_key(stage, batch) for stage in Stage] == [
        "intake.3",
        "triage.3",
        "policy.3",
        "playbook.3",
        "tool.3",
    ]


def test_an_exception_that_travels_alone_has_a_key_of_its_own() -> None:
    assert routing_key(Stage.TOOL, Batch.single(REFERENCE)) == f"tool.T1.{EXCEPTION}"


def test_every_stage_queue_takes_both_forms() -> None:
    assert [(queue.name, queue.routing_key) for queue in STAGE_QUEUES] == [(s.queue, f"{s.queue}.#") for s in Stage]


@pytest.mark.parametrize("first", list(Stage))
def test_a_chain_has_every_stage_from_its_first_to_the_last(first: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a Celery app that keeps what it is asked to send instead of sending it
    app = Celery("t", broker="memory://")
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(
        app.amqp,
        "send_task_message",
        lambda _p, name, message, **o: sent.append(o | {"name": name, "body": message.body}),
    )
    # when a batch is sent from a stage
    ChainSender(app).send(Batch((REFERENCE,), lane=1, batch_id="b"), first)
    # then its first task is that stage's, on the stage's queue and key, and the rest follows in the message
    (message,) = sent
    assert message["name"] == f"tasks.{first.queue}"
    assert message["routing_key"] == f"{first.queue}.1"
    following = [link["task"] for link in message["body"][2].get("chain") or []]  # type: ignore[index]
    assert sorted(following) == sorted(f"tasks.{stage.queue}" for stage in Stage if stage > first)


def test_a_broker_that_is_away_is_an_outage_and_says_what_to_check() -> None:
    # given a broker URL where nobody listens
    app = Celery("t", broker="redis://127.0.0.1:1/0")
    app.conf.broker_transport_options = {"max_retries": 1}
    app.conf.task_publish_retry = False
    # when a batch is to be sent
    with pytest.raises(BrokerUnavailableError, match="KAFKA_BOOTSTRAP_SERVERS"):
        ChainSender(app).send(Batch((REFERENCE,), lane=1, batch_id="b"), Stage.TOOL)
