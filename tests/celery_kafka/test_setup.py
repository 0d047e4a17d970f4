"""The vendor itself: a setup comes up on the stack's services, and no part of it asks for Docker."""

from __future__ import annotations

import pytest

from tests.celery_kafka.vendors.setup import KafkaTestSetup

pytestmark = [pytest.mark.kafka, pytest.mark.stack]


def test_a_setup_is_ready_in_every_way_pytest_celery_knows(celery_setup: KafkaTestSetup) -> None:
    # given a broker, a backend and a worker
    assert len(celery_setup) == 3
    # then its services answer, a task comes back and remote control reaches the worker
    assert celery_setup.ready(ping=True, control=True, docker=True)


def test_no_fixture_of_a_setup_needs_docker(celery_setup: KafkaTestSetup, request: pytest.FixtureRequest) -> None:
    assert celery_setup.app is not None
    needed = set(request.fixturenames)
    assert not {name for name in needed if "docker" in name or "network" in name or "image" in name}
