"""What one process shares per cluster: the producer, the admin client, the known topics. Safe across fork().

librdkafka handles consist of threads, which do not survive fork(); their destructors wait for those threads. So a
forked child starts with nothing, and the parent's handles are leaked in it on purpose.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from .binding_topic import BindingTopic
from .counters import Counters
from .errors import BrokerUnavailable
from .librdkafka_log import client_logger
from .names import Names
from .options import Options
from .publishing import Publisher
from .shared_bindings import SharedBindings
from .topics import Topics

logger = logging.getLogger(__name__)

Handle = TypeVar("Handle")


class Cluster:
    """This process's share in one cluster, under one set of options."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.names = Names(options.topic_prefix)
        self.counters = Counters()
        self.last_error = ""
        self.topics = Topics(
            self._make_admin, options.bootstrap_servers, options.request_timeout, options.create_topics
        )
        self.publisher = Publisher(
            self._make_producer, options.publish_timeout, self.counters, on_unknown_topic=self.topics.forget
        )
        self.bindings = SharedBindings(
            BindingTopic(self), self.counters, options.bindings_max_age, patience=options.publish_timeout
        )
        self._warm = False
        self._warned: set[str] = set()

    def verify(self) -> None:
        """Make sure that the cluster answers, and warm the producer up on the first call.

        Raises:
            BrokerUnavailable: it does not; the message holds the cause librdkafka told last.
        """
        self.last_error = ""
        try:
            if self._warm:
                self.topics.metadata()
            else:
                self.publisher.warm_up(self.options.request_timeout)
                self._warm = True
        except KafkaException as failure:
            self.publisher.serve()
            cause = self.last_error or failure.args[0].str()
            raise BrokerUnavailable(self.options.bootstrap_servers, "connecting", cause) from failure

    def on_error(self, error: KafkaError) -> None:
        """Remember what librdkafka tells only here: wrong passwords and certificates, for instance."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self.last_error:
            self.last_error = error.str()
        self.counters.add("client_errors")
        logger.debug("librdkafka: %s", error.str())

    @contextmanager
    def reading(self, purpose: str, **more: Any) -> Iterator[Consumer]:
        """Open a consumer that is assigned what it reads and takes part in no group; closed afterwards.

        ``more`` are further librdkafka settings, with ``_`` for their dots.
        """
        config = {**self.options.consumer(f"{self.options.group_id}.{purpose}"), "enable.partition.eof": True}
        config |= {name.replace("_", "."): value for name, value in more.items()}
        for of_a_member in ("group.instance.id", "group.protocol"):
            config.pop(of_a_member, None)
        consumer = keep_from_children(Consumer({**config, "error_cb": self.on_error}, logger=client_logger()))
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
        return keep_from_children(
            Producer({**self.options.producer(), "error_cb": self.on_error}, logger=client_logger())
        )

    def _make_admin(self) -> AdminClient:
        config: dict[str, Any] = {**self.options.common(), "error_cb": self.on_error}
        return keep_from_children(AdminClient(config, logger=client_logger()))


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
