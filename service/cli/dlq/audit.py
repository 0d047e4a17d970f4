"""`sentinai dlq audit`: do the dead-letter topic, the event log and the table of dead letters say the same?"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from datetime import UTC, datetime
from threading import Event

import click

from service.cli.printing import json_option, print_json
from service.persistence.database import Role, connect_listener
from service.relay.agreement import Difference, Report
from service.relay.audit import Audit, Scope
from service.relay.publisher import Publisher
from service.relay.topic_reader import reading
from service.relay.topics import DEAD_LETTER_TOPIC, EVENTS_TOPIC
from service.settings import load_settings

DIFFERENT, UNFINISHED = 1, 3
_PROGRESS_EVERY = 10_000
_WORDS = {
    Difference.MISSING_ON_TOPIC: "events without a record on the topic",
    Difference.RECORD_DIFFERS: "records that say something else than their event",
    Difference.UNKNOWN_TO_LOG: "records without an event in the log",
    Difference.UNREADABLE: "records that are none of a dead letter",
    Difference.MISSING_IN_TABLE: "events without a dead letter in the table",
    Difference.ROW_DIFFERS: "dead letters that say something else than their event",
    Difference.ROW_WITHOUT_EVENT: "dead letters without an event in the log",
}


@click.command(
    epilog="\b\nExamples:\n  sentinai dlq audit\n  sentinai dlq audit --whole --timeout 600\n"
    "  sentinai dlq audit --repair --json | jq .republished\n\n"
    "\b\nExit codes:\n  0 they agree   1 they differ   2 wrong usage   3 not finished in time\n"
)
@click.option("--whole", is_flag=True, help="From the topic's beginning, not from where the last audit stopped.")
@click.option("--repair", is_flag=True, help="Publish again what is missing or wrong on the topic.")
@click.option("--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z"]), help="Only what died since then.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that reading the topic may take.")
@click.option("--cursor", default=EVENTS_TOPIC, show_default=True, help="Name of the relay's place in the log.")
@click.option("--topic", default=DEAD_LETTER_TOPIC, show_default=True, help="The relay's topic of dead letters.")
@json_option
def audit(
    whole: bool, repair: bool, since: datetime | None, timeout: float, cursor: str, topic: str, as_json: bool
) -> None:
    """Prove that the topic of dead letters and the table agree. Works on the services themselves, not over HTTP."""
    settings = load_settings(os.environ)
    client = {"bootstrap.servers": settings.kafka_bootstrap_servers}
    scope = Scope(cursor, topic, timeout, whole, since.astimezone(UTC) if since else None)
    connection = connect_listener(settings.database_url, Role.SYSTEM)
    with closing(connection), reading(client, topic) as reader:
        publisher = (lambda: Publisher(client, Event())) if repair else None
        report = Audit(connection, reader, scope, _Progress(), publisher).run()
    if as_json:
        print_json({"cursor": cursor, "topic": topic, **report.document()})
    else:
        _tell(report, repair)
    sys.exit(UNFINISHED if not report.complete else 0 if report.agree else DIFFERENT)


class _Progress:
    """A line on stderr now and then."""

    def __init__(self) -> None:
        self._next = _PROGRESS_EVERY

    def __call__(self, read: int, total: int) -> None:
        """So many records of so many were read."""
        if read >= self._next:
            click.echo(f"read {read:,} of {total:,} records", err=True)
            self._next = read + _PROGRESS_EVERY


def _tell(report: Report, repair: bool) -> None:
    if not report.complete:
        click.echo(f"not finished: {report.records:,} records read in time; give it more with --timeout", err=True)
        return
    click.echo(f"compared {report.events:,} dead-letter events with {report.records:,} records and the table")
    for difference, number in report.differences.items():
        click.echo(f"  {number:,} {_WORDS[difference]}")
    for one in report.examples:
        place = ", ".join(f"{name} {value}" for name, value in one.items() if name != "difference")
        click.echo(f"    {one['difference']}: {place}")
    if report.agree:
        click.echo("they agree")
    elif report.republished:
        click.echo(f"published {report.republished:,} records again; what else differs, a person has to look at")
    elif not repair:
        click.echo("--repair publishes again what is missing or wrong on the topic")
