"""Tests of the suites that the Kafka transport does not pass, and never will, each with the reason.

Kafka is a log: a partition is read in the order in which it was written. What asks for another order has no
equivalent there, whatever the transport.
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
    "celery": {},
}
"""By suite and test (path below t/integration)."""
