"""Queues of the test application: Celery's default one, and two behind a topic exchange."""

from __future__ import annotations

from kombu import Exchange, Queue

EXCHANGE = Exchange("work", type="topic")

QUEUES = (
    Queue("celery"),
    Queue("first", EXCHANGE, routing_key="first.#"),
    Queue("second", EXCHANGE, routing_key="second.#"),
)
