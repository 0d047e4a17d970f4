"""What one process shares per cluster: the producer, the admin client, the known topics. Safe across fork().

librdkafka handles consist of threads, which do not survive fork(); their destructors wait for those threads. So a
forked child starts with nothing, and the parent's handles are leaked in it on purpose.
"""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from .bindings.log import BindingTopic
from .bindings.shared import SharedBindings
from .counters import Counters
from .delays.route import Route
from .errors import BadSetting, BrokerUnavailable, TransportError, told
from .names import Names
from .options import Options
from .publishing import Publisher
from .topics import Topics
from .troubleshooting.librdkafka_log import ClientLog
from .troubleshooting.reachability import look
from .troubleshooting.troubles import Pace, Troubles

logger = logging.getLogger(__name__)

_LOOK_WITHIN = 2.0
_FLUSH_WITHIN = 5.0
"""How long a process that ends waits for messages nobody waited for (transient ones: events, replies)."""

Handle = TypeVar("Handle")


class Cluster:
    """This process's share in one cluster, under one set of options."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.names = Names(options.topic_prefix)
        self.route = Route(options, self.names)
        self.counters = Counters()
        self.troubles = Troubles(options.bootstrap_servers)
        self.pace = Pace()
        self.heard: dict[str, int] = {}
        """Temporary queues of this process: the offset from which their own messages were not taken yet."""
        self.client_log = cast(logging.Logger, ClientLog(self.troubles.heard))
        self.topics = Topics(
            self._make_admin,
            options.bootstrap_servers,
            options.request_timeout,
            options.create_topics,
            self._why_silent,
        )
        self.publisher = Publisher(
            self._make_producer,
            options.publish_timeout,
            self.counters,
            on_unknown_topic=self.topics.forget,
            why=self._why_unconfirmed,
            on_stored=self.troubles.fine,
            on_replaced=let_go,
        )
        self.bindings = SharedBindings(
            BindingTopic(self), self.counters, options.bindings_max_age, patience=options.publish_timeout
        )
        self._warm = False
        self._warned: set[str] = set()

    def verify(self) -> None:
        """Make sure that the cluster answers, and warm the producer up on the first call.

        Raises:
            BrokerUnavailable: it does not; the message holds the cause that librdkafka told last.
            BadSetting: librdkafka does not take a setting.
        """
        try:
            if self._warm:
                self.topics.metadata()
            else:
                self.publisher.warm_up(self.options.request_timeout)
                self._warm = True
        except KafkaException as failure:
            raise BrokerUnavailable(self.options.bootstrap_servers, "connecting", self._why_silent()) from failure
        self.troubles.fine()

    def on_error(self, error: KafkaError) -> None:
        """Remember what librdkafka tells only here: wrong passwords and certificates, for instance."""
        self.troubles.heard(error.str(), error.code())
        self.counters.add("client_errors")
        logger.debug("librdkafka: %s", error.str())

    def open_consumer(self, config: dict[str, Any]) -> Consumer:
        """Make a consumer whose complaints are heard, and whose handle no forked child touches.

        Raises:
            BadSetting: librdkafka does not take a setting.
        """
        heard = {**config, "error_cb": self.on_error}
        return _made("consumer", lambda: Consumer(heard, logger=self.client_log))

    @contextmanager
    def reading(self, purpose: str, **more: Any) -> Iterator[Consumer]:
        """Open a consumer that is assigned what it reads and takes part in no group; closed afterwards.

        ``more`` are further librdkafka settings, with ``_`` for their dots.
        """
        config = {**self.options.consumer(f"{self.options.group_id}.{purpose}"), "enable.partition.eof": True}
        config |= {name.replace("_", "."): value for name, value in more.items()}
        for of_a_member in ("group.instance.id", "group.protocol"):
            config.pop(of_a_member, None)
        with self.lent_consumer(config) as consumer:
            yield consumer

    @contextmanager
    def lent_consumer(self, config: dict[str, Any]) -> Iterator[Consumer]:
        """Open a consumer as :meth:`open_consumer` does, for a moment; closed afterwards."""
        consumer = self.open_consumer(config)
        try:
            yield consumer
        finally:
            consumer.close()
            let_go(consumer)

    def warn_once(self, text: str, *arguments: object) -> None:
        """Log a warning that this process has not logged yet."""
        told = text % arguments
        if told not in self._warned:
            self._warned.add(told)
            logger.warning("%s", told)

    def _make_producer(self) -> Producer:
        config = {**self.options.producer(), "error_cb": self.on_error}
        return _made("producer", lambda: Producer(config, logger=self.client_log))

    def _make_admin(self) -> AdminClient:
        config: dict[str, Any] = {**self.options.common(), "error_cb": self.on_error}
        return _made("admin client", lambda: AdminClient(config, logger=self.client_log))

    def _why_silent(self) -> str:
        """Say why no broker answers: what the clients have heard, else what a plain look at the address finds."""
        self.publisher.listen()
        self.topics.listen()
        complaint = self.troubles.cause()
        return str(complaint) if complaint is not None else look(self.options.bootstrap_servers, _LOOK_WITHIN)

    def _why_unconfirmed(self, topic: str, error: KafkaError) -> str:
        """Say why a message was not stored, or not in time."""
        self.publisher.listen()
        complaint = self.troubles.cause()
        if error.code() not in _WITHOUT_CAUSE:
            return told(error)
        if complaint is not None:
            return str(complaint)
        try:
            return self.topics.condition(topic) or told(error)
        except TransportError as failure:
            return str(failure)


_WITHOUT_CAUSE = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError._FATAL, KafkaError._TRANSPORT})


def _made(client: str, make: Callable[[], Handle]) -> Handle:
    try:
        return keep_from_children(make())
    except KafkaException as refusal:
        raise BadSetting(client, refusal.args[0].str()) from None


_clusters: dict[str, Cluster] = {}
_handles: list[Any] = []
_lock = threading.Lock()


def cluster_of(options: Options) -> Cluster:
    """Return this process's cluster for these options; connections with equal options share it."""
    identity = options.identity
    with _lock:
        if identity not in _clusters:
            _clusters[identity] = Cluster(options)
        return _clusters[identity]


def clusters() -> list[Cluster]:
    """Return every cluster that this process has opened."""
    with _lock:
        return list(_clusters.values())


def keep_from_children(handle: Handle) -> Handle:
    """Register a librdkafka handle, so that a forked child never runs its destructor."""
    _handles.append(handle)
    return handle


def let_go(handle: object) -> None:
    """Forget a handle that was closed."""
    with _lock:
        _handles[:] = [kept for kept in _handles if kept is not handle]


def _forget_the_parent() -> None:
    global _lock
    _lock = threading.Lock()
    for handle in _handles:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))
    _handles.clear()
    _clusters.clear()


os.register_at_fork(after_in_child=_forget_the_parent)


def _flush_at_exit() -> None:
    """Give messages that nobody waited for their time to leave: librdkafka would drop them with the process."""
    deadline = time.monotonic() + _FLUSH_WITHIN
    for cluster in clusters():
        cluster.troubles.over()
        cast(ClientLog, cluster.client_log).over()
    for cluster in clusters():
        left = cluster.publisher.flush(max(0.0, deadline - time.monotonic()))
        if left:
            logger.warning("%d messages to Kafka at %s were left behind", left, cluster.options.bootstrap_servers)


atexit.register(_flush_at_exit)
