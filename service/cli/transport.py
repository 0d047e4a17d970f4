"""`sentinai transport`: the transport's own command line, with the pipeline's Celery application's broker."""

from __future__ import annotations

from service.transport.operations.cli import group_for

command = group_for(
    "tasks",
    "Look at the pipeline's queues in Kafka, and operate them. The broker is the environment's "
    "(KAFKA_BOOTSTRAP_SERVERS); `python -m service.transport` does the same for any other.",
)
