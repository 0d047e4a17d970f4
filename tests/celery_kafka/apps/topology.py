"""Queues of the test application: Celery's default one, two behind a topic exchange, and some for special tests."""

from __future__ import annotations

from kombu import Exchange, Queue
from kombu.common import Broadcast

EXCHANGE = Exchange("work", type="topic")

QUEUES = (
    Queue("celery"),
    Queue("first", EXCHANGE, routing_key="first.#"),
    Queue("second", EXCHANGE, routing_key="second.#"),
    Queue("spare"),
    Queue("litter"),
    Broadcast("news"),
)
