"""Notifications: handed to the process's sender, so that no task waits for a receiver."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from service.dispatch.notifications import TASK, from_message
from service.domain.exceptions import Stage
from tasks.application import app

log = logging.getLogger(__name__)


@app.task(shared=False, name=TASK, queue=Stage.TOOL.queue)
def notify(message: Mapping[str, Any]) -> None:
    """Have notifications sent; those that find no room become due again."""
    references = from_message(message)
    if not app.pipeline.get().notifier.accept(references):
        log.warning("%s notifications have to wait: too many are on their way", len(references))
