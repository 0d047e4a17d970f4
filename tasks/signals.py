"""Worker life-cycle: connections are opened before the first task and given back at the end."""

from __future__ import annotations

import gc
from typing import Any

from celery.signals import worker_process_init, worker_process_shutdown, worker_shutdown

from tasks.application import app


@worker_process_init.connect
def open_pipeline(**_: Any) -> None:
    """Build the pipeline in the forked child, so that the first batch does not wait for it."""
    app.watchdog.active = False
    app.pipeline.get()
    # A batch makes thousands of objects that die with it. What lives as long as the process is no longer looked
    # through for garbage, and the rest less often: that was a quarter of a stage's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@worker_process_shutdown.connect
@worker_shutdown.connect
def close_pipeline(**_: Any) -> None:
    """Give back what this process opened."""
    app.pipeline.close()
