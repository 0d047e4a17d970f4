"""A real `celery beat`, started natively."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.celery_kafka.api.process import ProcessContainer, ProcessSpec
from tests.celery_kafka.apps import SETTINGS_VARIABLE


class BeatContainer(ProcessContainer):
    """`celery -A … beat` with a schedule of its own."""

    ready_prompt = "beat: Starting..."

    def __init__(self, settings: Mapping[str, Any], schedule: Mapping[str, Any], folder: Path) -> None:
        """`schedule` is Celery's `beat_schedule`, JSON-ready."""
        app = "tests.celery_kafka.apps.work"
        command = (sys.executable, "-m", "celery", "-A", app, "beat", "-s", str(folder / "schedule"), "-l", "INFO")
        environment = {SETTINGS_VARIABLE: json.dumps({**settings, "beat_schedule": dict(schedule)})}
        super().__init__(ProcessSpec("beat", "beat", command, environment, folder / "beat.log"))
