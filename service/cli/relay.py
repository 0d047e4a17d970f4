"""`sentinai relay`: publish the event log to Kafka; `sentinai relay status`: how far behind that is."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import closing
from threading import Event

import click
import orjson

from service.persistence.database import Role, connect_listener
from service.relay.log import EventLog
from service.relay.publisher import Publisher
from service.relay.relay import Relay, Topics
from service.relay.topics import DEAD_LETTER_TOPIC, EVENTS_TOPIC, TopicShape, ensure_topics
from service.settings import Settings, load_settings

CURSOR_NAME = EVENTS_TOPIC


@click.group(invoke_without_command=True)
@click.option("--cursor", default=CURSOR_NAME, show_default=True, help="Name of the place in the log, one leader each.")
@click.option("--events-topic", default=EVENTS_TOPIC, show_default=True, help="Topic of all events.")
@click.option("--dlq-topic", default=DEAD_LETTER_TOPIC, show_default=True, help="Topic of dead letters.")
@click.pass_context
def command(context: click.Context, cursor: str, events_topic: str, dlq_topic: str) -> None:
    """Publish the event log to Kafka until stopped. Several may run: one leads, the others stand by."""
    context.obj = cursor
    if context.invoked_subcommand is None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        _run(load_settings(os.environ), cursor, Topics(events_topic, dlq_topic))


@command.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def status(cursor: str, as_json: bool) -> None:
    """Show how many events are not published yet and how old the oldest of them is."""
    settings = load_settings(os.environ)
    with closing(_open_log(settings, cursor)) as event_log:
        lag = event_log.lag()
    if as_json:
        document = {
            "cursor": cursor,
            "leader": lag.has_leader,
            "unpublished": lag.unpublished,
            "secondsBehind": round(lag.seconds_behind, 3),
            "publishedAt": lag.moved_at,
        }
        click.echo(orjson.dumps(document, option=orjson.OPT_UTC_Z))
        return
    leader = "a relay leads" if lag.has_leader else "no relay runs"
    click.echo(f"{leader}; {lag.unpublished} events not published, {lag.seconds_behind:.1f} s behind")


def _run(settings: Settings, cursor: str, topics: Topics) -> None:
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    client = {"bootstrap.servers": settings.kafka_bootstrap_servers}
    shape = TopicShape(settings.partitions, settings.replication_factor)

    def open_publisher() -> Publisher:
        ensure_topics(client, (topics.events, topics.dead_letters), shape)
        return Publisher(client, stopping)

    Relay(lambda: _open_log(settings, cursor), open_publisher, stopping, topics).run()


def _open_log(settings: Settings, cursor: str) -> EventLog:
    return EventLog(connect_listener(settings.database_url, Role.SYSTEM), cursor)
