"""A Kafka vendor for pytest-celery that needs no Docker: its fixtures, and the workers' logs beside a failure.

The parts are laid out as pytest-celery lays out its own: `api/` has the base, `vendors/` the parts that are of
one kind, `fixtures/` the thin fixtures that put them together. `apps/` is what the processes run.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.celery_kafka.fixtures.broker import (
    celery_backend,
    celery_backend_cluster,
    celery_broker,
    celery_broker_cluster,
)
from tests.celery_kafka.fixtures.services import kafka_container, namespace, redis_container
from tests.celery_kafka.fixtures.setup import celery_setup_cls
from tests.celery_kafka.fixtures.worker import (
    celery_worker,
    celery_worker_cluster,
    process_settings,
    worker_containers,
    worker_names,
    worker_options,
)

__all__ = [
    "celery_backend",
    "celery_backend_cluster",
    "celery_broker",
    "celery_broker_cluster",
    "celery_setup_cls",
    "celery_worker",
    "celery_worker_cluster",
    "kafka_container",
    "namespace",
    "process_settings",
    "redis_container",
    "worker_containers",
    "worker_names",
    "worker_options",
]

_LOG_TAIL = 6000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of the workers' logs beside a failure."""
    report = yield
    if report.failed:
        for container in getattr(item, "funcargs", {}).get("worker_containers", ()):
            report.sections.append((f"log of {container.name}", container.logs()[-_LOG_TAIL:]))
    return report
