"""AMQP's queue arguments: what is refused, what is told, what is of no account."""

from __future__ import annotations

import pytest

from service.transport.channels.queue_arguments import told_about
from service.transport.channels.refusals import NotOffered


@pytest.mark.parametrize(
    ("argument", "advice"),
    [
        ("x-max-priority", "a queue for each priority"),
        ("x-dead-letter-exchange", "dead_letter_topic"),
        ("x-dead-letter-routing-key", "dead_letter_topic"),
        ("x-single-active-consumer", "ordering='partition'"),
    ],
)
def test_what_an_application_relies_on_is_refused_with_what_to_do(argument: str, advice: str) -> None:
    with pytest.raises(NotOffered, match=argument) as refused:
        told_about("jobs", {argument: 10}, temporary=False)
    assert "'jobs'" in str(refused.value)
    assert advice in str(refused.value)
    with pytest.raises(NotOffered):
        told_about("jobs", {argument: 10}, temporary=True)


@pytest.mark.parametrize(
    ("argument", "advice"),
    [
        ("x-message-ttl", "retention.ms"),
        ("x-expires", "auto_delete"),
        ("x-max-length", "topic_config"),
        ("x-max-length-bytes", "retention.bytes"),
        ("x-overflow", "never full"),
        ("x-delivery-limit", "task_reject_on_worker_lost"),
        ("x-made-up", "no argument this transport knows"),
    ],
)
def test_a_limit_that_is_not_kept_is_told_with_what_to_set_instead(argument: str, advice: str) -> None:
    [told] = told_about("jobs", {argument: 10}, temporary=False)
    assert argument in told
    assert advice in told
    # but not of a queue that lives no longer than its connection
    assert told_about("jobs", {argument: 10}, temporary=True) == []


def test_how_rabbitmq_stores_a_queue_is_of_no_account() -> None:
    assert told_about("jobs", {"x-queue-type": "quorum", "x-queue-mode": "lazy"}, temporary=False) == []
    assert told_about("jobs", None, temporary=False) == []
