"""Which cluster, under which options, a command works on: from a broker URL or from a Celery application."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import click

from ..cluster import Cluster, cluster_of
from ..inspection.inspector import Inspector
from ..options import Options, options_from
from ..transport import Transport

_ANSWER_NO = 3


class Target:
    """The cluster of one run of the command line; opened when first needed."""

    def __init__(self, find_options: Callable[[], Options], find_queues: Callable[[], Iterable[str]] = tuple) -> None:
        self._find_options = find_options
        self._find_queues = find_queues

    @cached_property
    def cluster(self) -> Cluster:
        """The process's share in the cluster."""
        return cluster_of(self._find_options())

    @cached_property
    def inspector(self) -> Inspector:
        """Looks at its queues."""
        return Inspector(self.cluster)

    def queues(self, named: Iterable[str]) -> list[str]:
        """The queues a command is about: those named, else all that are known to exist.

        Raises:
            click.ClickException: a named queue has no topic.
        """
        wanted = list(dict.fromkeys(named))
        exists = {topic for topic, _ in self.inspector.survey.leaders(lambda _: True)}
        if not wanted:
            found = {*self._find_queues(), *self.inspector.known_queues()}
            return sorted(queue for queue in found if self.cluster.names.queue(queue) in exists)
        for queue in wanted:
            topic = self.cluster.names.queue(queue)
            if topic not in exists:
                raise click.ClickException(
                    f"there is no queue {queue!r}: the cluster has no topic {topic!r}; `topics` lists what there is, "
                    "--prefix says what every topic's name begins with"
                )
        return wanted


class AnswerNo(click.ClickException):
    """Nothing failed, but what was asked for is not so."""

    exit_code = _ANSWER_NO


def target_of_broker(broker: str, raw: dict[str, Any]) -> Target:
    """Work on ``kafka://[user:password@]host:port[,host:port]//``, or on plain ``host:port``."""
    location = broker.partition("://")[2] or broker
    credentials, _, servers = location.split("/", 1)[0].rpartition("@")
    user, _, password = credentials.partition(":")
    known = (unquote(user), unquote(password)) if user else None
    return Target(lambda: options_from(raw, servers or "localhost:9092", known))


def target_of_app(name: str) -> Target:
    """Work with the broker options of a Celery application, named as for ``celery -A``."""
    from celery.app.utils import find_app  # Celery is needed for this alone.

    def load() -> Any:
        try:
            return find_app(name)
        except (ImportError, AttributeError) as failure:
            raise click.ClickException(f"there is no Celery application {name!r}: {failure}") from failure

    def find_options() -> Options:
        transport = load().connection_for_read().transport
        if not isinstance(transport, Transport):
            raise click.ClickException(f"the application {name!r} uses another broker than Kafka over this transport")
        return transport.options

    return Target(find_options, lambda: [str(queue) for queue in load().amqp.queues])


def parse_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs; a value is JSON, or text where it is not."""
    raw: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"{pair!r} is not name=value")
        try:
            raw[name] = json.loads(text)
        except ValueError:
            raw[name] = text
    return raw
