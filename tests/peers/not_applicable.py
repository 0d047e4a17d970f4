"""Tests of the suites that do not apply to the Kafka transport, each with the reason.

Kafka is a log: a partition is read in the order in which it was written, so what asks for another order has no
equivalent there, whatever the transport. And what contradicts a promise of the transport cannot be passed either.
"""

from __future__ import annotations

_PRIORITIES = "a partition is read in the order it was written, so no message overtakes by priority; use a queue each"

NOT_APPLICABLE: dict[str, dict[str, str]] = {
    "kombu": {
        "test_peers.py::test_Priority::test_publish_consume": _PRIORITIES,
        "test_peers.py::test_Priority::test_publish_requeue_consume": _PRIORITIES,
        "test_peers.py::test_Priority::test_simple_queue_publish_consume": _PRIORITIES,
        "test_peers.py::test_Priority::test_simple_buffer_publish_consume": _PRIORITIES,
    },
    "celery": {
        "test_inspect.py::test_Inspect::test_scheduled": "a task with an ETA waits in Kafka until it is due, not in a "
        "worker, so no worker lists it; with the option delays=False it passes",
    },
}
"""By suite and test (path below t/integration)."""
