"""How each suite is told which broker to use, without a change to its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.devstack.instance import HOST

INSIDE = Path(__file__).with_name("inside")
_TRANSPORT = "service.transport:Transport"


@dataclass(frozen=True)
class Broker:
    """What a suite runs on: `kind` is kafka or redis. Results are always in Redis."""

    kind: str
    kafka_servers: str
    redis_port: int
    options: Mapping[str, Any]
    """The transport's options; empty for Redis."""

    @property
    def url(self) -> str:
        """The broker URL."""
        if self.kind == "kafka":
            return f"kafka://{self.kafka_servers}//"
        return f"redis://{HOST}:{self.redis_port}/0"

    def environment(self) -> dict[str, str]:
        """What the suites read from their environment."""
        return {
            "TEST_BROKER": self.url,
            "TEST_BACKEND": f"redis://{HOST}:{self.redis_port}/0",
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.redis_port),
            "REDIS_6379_TCP": str(self.redis_port),
            "WORKER_LOGLEVEL": "INFO",
            "PEERS_TRANSPORT_OPTIONS": json.dumps(dict(self.options)),
        }


@dataclass(frozen=True)
class Suite:
    """A suite: the package whose sources hold it, what pytest is told, and how its folder is prepared."""

    package: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path, Broker], None]
    test_timeout: int
    """Seconds for one test; then it has failed."""


def _prepare_kombu(folder: Path, _broker: Broker) -> None:
    shutil.copyfile(INSIDE / "kombu_suite.py", folder / "t" / "integration" / "test_peers.py")


def _prepare_celery(folder: Path, broker: Broker) -> None:
    """Celery's conftest reads further settings of its application from this file."""
    if broker.kind == "kafka":
        settings = {"broker_transport": _TRANSPORT, "broker_transport_options": dict(broker.options)}
        (folder / "integration-tests-config.json").write_text(json.dumps(settings))


SUITES = {
    "kombu": Suite("kombu", ("t/integration/test_peers.py",), _prepare_kombu, 60),
    "celery": Suite("celery", ("-p", "celery.contrib.pytest", "t/integration"), _prepare_celery, 300),
}
