"""What holds for every test: how tests that need Kafka are left out, and that a run ends cleanly when told to."""

from __future__ import annotations

import os
import signal
from types import FrameType

import pytest

pytest_plugins = ["tests.stack_fixture"]


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to skip in CI, and let SIGTERM unwind fixtures as Ctrl-C does, so that no stack stays behind."""
    if _skips_kafka() and os.environ.get("CI", "").lower() == "true":
        raise pytest.UsageError("SKIP_KAFKA_INTEGRATION_TESTS=true is refused in CI: unset it and run a Kafka")
    signal.signal(signal.SIGTERM, _interrupt)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, and say so, what is marked `kafka` when the environment asks for it."""
    if not _skips_kafka():
        return
    for item in items:
        if item.get_closest_marker("kafka") is not None:
            item.add_marker(pytest.mark.skip(reason="SKIP_KAFKA_INTEGRATION_TESTS=true"))


def _skips_kafka() -> bool:
    return os.environ.get("SKIP_KAFKA_INTEGRATION_TESTS", "").lower() in ("true", "1", "yes")
