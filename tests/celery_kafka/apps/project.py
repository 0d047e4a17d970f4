"""The project's own app, on the topics of one group of tests: `celery -A tests.celery_kafka.apps.project …`."""

from __future__ import annotations

import json
import os

from tasks import app
from tests.celery_kafka.apps import SETTINGS_VARIABLE

_settings = json.loads(os.environ[SETTINGS_VARIABLE])
app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    **_settings["broker_transport_options"],
}

__all__ = ["app"]
