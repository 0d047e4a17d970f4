"""A real Flower, started natively; its HTTP API is what tests look at."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.devstack.instance import HOST
from tests.celery_kafka.api.process import ProcessContainer, ProcessSpec
from tests.celery_kafka.apps import SETTINGS_VARIABLE

_REQUEST_SECONDS = 5


class FlowerContainer(ProcessContainer):
    """`celery -A … flower` on a port of its own."""

    def __init__(self, app: str, port: int, settings: Mapping[str, Any], logs: Path) -> None:
        self._url = f"http://{HOST}:{port}"
        command = (sys.executable, "-m", "celery", "-A", app, "flower", f"--address={HOST}", f"--port={port}")
        # Flower refuses its API to everybody unless it is told that nobody needs to log in.
        environment = {SETTINGS_VARIABLE: json.dumps(settings), "FLOWER_UNAUTHENTICATED_API": "true"}
        super().__init__(ProcessSpec("flower", f"flower-{port}", command, environment, logs / "flower.log"))

    def get(self, path: str) -> Any:
        """The JSON answer to a GET. Raises OSError when there is none (HTTP errors included)."""
        with urllib.request.urlopen(f"{self._url}{path}", timeout=_REQUEST_SECONDS) as answer:
            return json.load(answer)

    def _missing(self) -> str | None:
        try:
            self.get("/api/workers")
        except OSError as error:
            return f"no answer from {self._url}: {error}"
        return None
