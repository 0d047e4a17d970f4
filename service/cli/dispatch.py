"""`sentinai dispatch`: the dispatcher process."""

from __future__ import annotations

import logging
import os
import signal

import click

from service.settings import load_settings
from service.wiring import build_dispatcher, build_redrives, build_upkeep


@click.command("dispatch", epilog="Example: sentinai dispatch")
def command() -> None:
    """Take ready work from the outbox and send it to the workers, until stopped.

    Several may run: each serves its share of the lanes, and a dead one's lanes are taken over.
    SIGTERM and Ctrl-C end it after the batch at hand.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    from tasks import app  # The Celery app reads the environment; only this process needs it.

    settings = load_settings(os.environ)
    dispatcher = build_dispatcher(settings, app)
    beside = (build_upkeep(settings), build_redrives(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stopping.set())
    for one in beside:
        one.start()
    try:
        dispatcher.run()
    finally:
        for one in beside:
            one.stop()
