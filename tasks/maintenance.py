"""What beat has done: event partitions made ahead, the journal cleared, the dead-letter topic audited."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

from sqlalchemy import Engine

from service.engine import reconciliation
from service.errors import InfrastructureUnavailableError
from service.persistence.database import Role, connect_listener, open_engine
from service.persistence.deliveries import DeliveryJournal
from service.relay.audit import Audit, AuditRunsError, Scope
from service.relay.publisher import Publisher
from service.relay.topic_reader import reading
from service.relay.topics import DEAD_LETTER_TOPIC, EVENTS_TOPIC
from service.settings import Settings, load_settings
from service.wiring import utc_now
from tasks.application import app

log = logging.getLogger(__name__)

AUDIT_SECONDS = 20.0
"""How long one audit may read the topic. It holds a worker process meanwhile."""


@app.task(shared=False, name="tasks.ensure_event_partitions", queue="intake")
def ensure_event_partitions() -> int:
    """Make the event log's partitions of the coming months."""
    with _system_engine(load_settings(os.environ)) as engine:
        return reconciliation.ensure_event_partitions(engine, utc_now())


@app.task(shared=False, name="tasks.audit_dead_letters", queue="intake")
def audit_dead_letters() -> dict[str, Any] | None:
    """Compare the dead-letter topic with the log and the table since the last time, and publish what is missing."""
    settings = load_settings(os.environ)
    client = {"bootstrap.servers": settings.kafka_bootstrap_servers}
    scope = Scope(EVENTS_TOPIC, DEAD_LETTER_TOPIC, AUDIT_SECONDS)
    try:
        connection = connect_listener(settings.database_url, Role.SYSTEM)
        with closing(connection), reading(client, DEAD_LETTER_TOPIC) as reader:
            report = Audit(connection, reader, scope, publisher=lambda: Publisher(client, Event())).run()
    except (InfrastructureUnavailableError, AuditRunsError) as error:
        log.warning("the audit of the dead-letter topic is left to the next time: %s", error)
        return None
    if not report.agree:
        log.error("the dead-letter topic and the table disagree: %s", report.document())
    elif not report.complete:
        log.warning("the audit of the dead-letter topic was not finished in %g s", AUDIT_SECONDS)
    return report.document()


@app.task(shared=False, name="tasks.forget_deliveries", queue="intake")
def forget_deliveries() -> None:
    """Clear the journal of what threads began that are long gone."""
    with _system_engine(load_settings(os.environ)) as engine:
        DeliveryJournal(engine).forget()


@contextmanager
def _system_engine(settings: Settings) -> Iterator[Engine]:
    """A connection across tenants for the length of one task: a worker otherwise never acts as SYSTEM."""
    engine = open_engine(settings.database_url, Role.SYSTEM, pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()
