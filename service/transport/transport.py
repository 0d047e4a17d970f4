# mypy: disable-error-code="no-untyped-call"
# (kombu's classes are only partly annotated, and this module calls their methods)
"""The connection as kombu sees it: opening, closing, the event loop, and blocking delivery."""

from __future__ import annotations

import os
import time
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaException
from kombu.transport import virtual

from .channels import channel as channels
from .cluster import Cluster, cluster_of
from .errors import ChannelFailed, ConnectionFailed
from .green_threads import refuse_green_threads
from .options import Options, options_from
from .session import Session

_BURST = 200
"""Messages delivered in one turn of an event loop; then others have theirs."""


class Transport(virtual.Transport):
    """kombu transport for Kafka. See the package's docstring."""

    Channel = channels.Channel
    default_port: Any = 9092
    driver_type = "kafka"
    driver_name = "confluent-kafka"
    polling_interval: Any = None
    implements = virtual.Transport.implements.extend(
        asynchronous=True, batch_publish=True, exchange_type=frozenset(["direct", "topic", "fanout"])
    )
    connection_errors: Any = (*virtual.Transport.connection_errors, ConnectionFailed, KafkaException)
    channel_errors: Any = (*virtual.Transport.channel_errors, ChannelFailed)
    recoverable_connection_errors: Any = connection_errors
    recoverable_channel_errors: Any = ()
    """What is refused would be refused again: kombu raises it at once instead of reconnecting first."""

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.options = _options_of(client)
        self._pid = os.getpid()
        self._session: Session | None = None
        self._hub: Any = None

    @property
    def session(self) -> Session:
        """What is open. A forked child gets its own, also over a connection it inherited.

        Raises:
            ConnectionFailed: the connection was closed.
        """
        self._forget_the_parents()
        if self._session is None:
            raise ConnectionFailed("the connection to Kafka is closed")
        return self._session

    @property
    def cluster(self) -> Cluster:
        """This process's share in the cluster."""
        return self.session.cluster

    def driver_version(self) -> str:
        """Version of the client library."""
        return str(confluent_kafka.__version__)

    def establish_connection(self) -> Any:
        """Make sure the cluster answers, and open.

        Raises:
            BrokerUnavailable: it does not. GreenThreadsRefused: gevent or eventlet has patched this process.
        """
        refuse_green_threads()
        cluster = cluster_of(self.options)
        time.sleep(cluster.pace.pause())
        cluster.verify()
        self.state.clear()
        self._pid = os.getpid()
        self._session = Session(cluster, self._callbacks)
        return super().establish_connection()

    def verify_connection(self, connection: Any) -> bool:  # noqa: ARG002 - kombu's signature
        """Tell whether the connection is open."""
        return self._session is not None

    def close_connection(self, connection: Any) -> None:
        """Commit what is finished, leave the groups, and close."""
        self._forget_the_parents()
        session = self._session
        if self._hub is not None and session is not None:
            self._hub.remove_reader(session.wakeup.fileno())
        super().close_connection(connection)
        self._hub = self._session = None
        if session is not None:
            session.close()
        self._callbacks.clear()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:  # noqa: ARG002 - kombu's signature
        """Deliver from an event loop."""
        self._hub = loop
        loop.add_reader(self.session.wakeup.fileno(), self._on_readable)
        self.session.wakeup.set()

    def drain_events(self, connection: Any, timeout: float | None = None, **_kwargs: Any) -> None:  # noqa: ARG002
        """Deliver exactly one message.

        Raises:
            TimeoutError: none came in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        session = self.session
        while not session.deliver_one():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not session.wakeup.wait(left):
                raise TimeoutError("no message came in time")

    def _on_readable(self) -> None:
        session = self._session
        if session is None:
            return
        session.wakeup.clear()
        for _ in range(_BURST):
            if not session.deliver_one():
                return
        session.wakeup.set()

    def _forget_the_parents(self) -> None:
        """In a forked child: the parent's threads, pipe and event loop are not ours to use or to close."""
        if self._pid != os.getpid():
            self._pid, self._hub = os.getpid(), None
            if self._session is not None:
                self._session = Session(cluster_of(self.options), self._callbacks)


def _options_of(client: Any) -> Options:
    servers = f"{client.hostname or 'localhost'}:{client.port or Transport.default_port}"
    credentials = (client.userid, client.password or "") if client.userid else None
    return options_from(client.transport_options, servers, credentials)
