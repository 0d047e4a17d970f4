"""Topics in the cluster: which exist, creating them, sizes, purging, deleting.

Creation is idempotent and tolerates other processes doing the same and leaders that are not elected yet. What is
known to exist is remembered, so that publishing asks the cluster nothing; what is missing is asked again soon. The
broker never creates a topic by itself here: all metadata is asked for without that side effect.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._metadata import ClusterMetadata
from confluent_kafka.cimpl import NewPartitions, NewTopic

from .errors import (
    AccessDenied,
    BrokerUnavailable,
    TopicNotReady,
    TopicRefused,
    TransportError,
    is_denied,
    told,
)
from .topic_health import condition, denial, why_missing

logger = logging.getLogger(__name__)

_RENEWED_EVERY = 30.0
"""Seconds: a client of its own costs threads and connections."""
_FORMER_KEPT = 4
_READY_WITHIN = 15.0
_MISSING_FOR = 1.0
"""How long a topic that does not exist is believed not to."""
_PASSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._NOENT,
    }
)
"""Errors that pass: a new topic's leader may not know of it yet, and librdkafka calls that "no leaders found"."""


class Topics:
    """This process's view of the cluster's topics. Safe to use from any thread."""

    def __init__(
        self,
        make_admin: Callable[[], AdminClient],
        servers: str,
        timeout: float,
        may_create: bool,
        why_silent: Callable[[], str] = lambda: "no broker answers",
    ) -> None:
        """``why_silent`` explains why no broker answers; ``timeout`` bounds each request."""
        self._make_admin = make_admin
        self._why_silent = why_silent
        self._servers = servers
        self._timeout = timeout
        self._may_create = may_create
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._renewed_at = float("-inf")
        self._former: deque[AdminClient] = deque(maxlen=_FORMER_KEPT)
        self._known: dict[str, int] = {}
        self._missing: dict[str, float] = {}

    def ensure(
        self, topics: Collection[str], partitions: int, replication: int, config: Mapping[str, str] | None = None
    ) -> None:
        """Make sure that the topics exist and have leaders. Costs nothing for topics already known.

        A topic that exists with fewer partitions than asked for is left as it is, and warned about once.

        Raises:
            TopicRefused: a topic is missing and may not or cannot be created.
            TopicNotReady: it has no leader in time.
            BrokerUnavailable: no broker answered.
        """
        deadline = time.monotonic() + _READY_WITHIN
        wanted = [topic for topic in topics if topic not in self._known]
        while wanted:
            metadata = self.metadata()
            missing = [topic for topic in wanted if topic not in metadata.topics]
            there = [topic for topic in wanted if self._note(topic, metadata)]
            self._warn_of_fewer(there, partitions)
            wanted = [topic for topic in wanted if topic not in there]
            if missing:
                self._create(missing, partitions, replication, dict(config or {}))
            if wanted and time.monotonic() > deadline:
                raise TopicNotReady(wanted[0], f"no leader within {_READY_WITHIN:g} s")
            if wanted:
                time.sleep(0.02)

    def exists(self, topic: str) -> bool:
        """Tell whether a topic exists. A "no" may be a second old."""
        if topic in self._known:
            return True
        if self._missing.get(topic, 0.0) > time.monotonic():
            return False
        metadata = self.metadata()
        if topic in metadata.topics:
            self._note(topic, metadata)
            return True
        self._missing[topic] = time.monotonic() + _MISSING_FOR
        return False

    def refuse_if_denied(self, topic: str) -> None:
        """Raise TopicRefused for a topic that is only missing because this user may not see it."""
        denied = denial(self.admin, topic, self._timeout)
        if denied:
            raise TopicRefused(topic, denied)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has; 0 when it does not exist."""
        metadata = self.metadata()
        return len(metadata.topics[topic].partitions) if topic in metadata.topics else 0

    def known_partitions(self, topic: str) -> int:
        """How many partitions a topic had when it was first seen; asks the cluster only when it was not seen yet."""
        return self._known.get(topic) or self.partitions(topic)

    def metadata(self) -> ClusterMetadata:
        """Ask the cluster for all topics (about a millisecond)."""
        try:
            return self.admin.list_topics(timeout=self._timeout)
        except KafkaException as failure:
            raise BrokerUnavailable(self._servers, "listing topics", self._why_silent()) from failure

    def grow(self, topic: str, partitions: int) -> int:
        """Give a topic more partitions; return how many it has then. Having that many already is fine.

        Keys move to other partitions: messages of one key that were published before and after may overtake each
        other. Consumers notice within seconds.

        Raises:
            TopicRefused: there is no such topic, it has more than that, or growing is not allowed.
        """
        has = self.partitions(topic)
        if not has:
            self.refuse_if_denied(topic)
        if not has or has > partitions:
            raise TopicRefused(topic, f"it has {has} partitions, and can only grow; {partitions} were asked for")
        if has < partitions:
            [future] = self.admin.create_partitions(
                [NewPartitions(topic, partitions)], request_timeout=self._timeout
            ).values()
            self._result(future, topic, KafkaError.INVALID_PARTITIONS)
            logger.warning("topic %s grows from %d to %d partitions: keys move", topic, has, partitions)
        self.forget(topic)
        self.ensure([topic], partitions, -1)
        return self.partitions(topic)

    def condition(self, topic: str) -> str:
        """Say why a topic does not confirm what is published, as far as the cluster tells; "" when it looks well."""
        return condition(self.admin, self.metadata(), topic, self._timeout)

    def listen(self) -> None:
        """Hear what the admin client has to complain about, if there is one."""
        if self._admin is not None:
            self._admin.poll(0)

    def ends(self, topic: str, spec: OffsetSpec | None = None) -> dict[int, int]:
        """Return the next offset of each partition (or the first, with ``OffsetSpec.earliest()``)."""
        wanted = spec or OffsetSpec.latest()
        parts = [TopicPartition(topic, number) for number in range(self.partitions(topic))]
        if not parts:
            return {}
        answers = self._patiently(
            "asking for offsets",
            lambda: self.admin.list_offsets(dict.fromkeys(parts, wanted), request_timeout=self._timeout),
            lambda answer: answer.offset >= 0,
        )
        return {part.partition: answer.offset for part, answer in answers.items()}

    def trim(self, bounds: list[TopicPartition]) -> Mapping[TopicPartition, Future[Any]]:
        """Ask for the deletion of records below these offsets; do not wait for it."""
        answers: Mapping[TopicPartition, Future[Any]] = {}
        if bounds:
            answers = self.admin.delete_records(bounds, request_timeout=self._timeout)
        return answers

    def purge(self, topic: str) -> None:
        """Delete every record a topic has now."""
        bounds = [TopicPartition(topic, number, end) for number, end in self.ends(topic).items()]
        if bounds:
            self._patiently("purging", lambda: self.admin.delete_records(bounds, request_timeout=self._timeout))

    def delete(self, topic: str) -> None:
        """Delete a topic; deleting one that does not exist is fine."""
        self.forget(topic)
        [future] = self.admin.delete_topics([topic], request_timeout=self._timeout).values()
        self._result(future, topic, KafkaError.UNKNOWN_TOPIC_OR_PART)

    def forget(self, topic: str) -> None:
        """Ask the cluster again next time."""
        self._known.pop(topic, None)
        self._missing.pop(topic, None)

    @property
    def admin(self) -> AdminClient:
        """The process's admin client."""
        with self._lock:
            if self._admin is None:
                self._admin = self._make_admin()
            return self._admin

    def forget_admin(self) -> None:
        """Have the next question asked by a new client, if this one is not new itself.

        The old one is kept a while: it may still be answered what it was asked.
        """
        now = time.monotonic()
        with self._lock:
            if self._admin is not None and now >= self._renewed_at + _RENEWED_EVERY:
                self._former.append(self._admin)
                self._admin, self._renewed_at = None, now

    def _note(self, topic: str, metadata: ClusterMetadata) -> bool:
        found = metadata.topics.get(topic)
        if found is None or found.error or not found.partitions:
            return False
        if any(part.leader < 0 for part in found.partitions.values()):
            return False
        self._known[topic] = len(found.partitions)
        self._missing.pop(topic, None)
        return True

    def _create(self, topics: list[str], partitions: int, replication: int, config: dict[str, str]) -> None:
        if not self._may_create:
            raise TopicRefused(topics[0], why_missing(self.admin, topics[0], self._timeout))
        new = [NewTopic(name, partitions, replication, config=config) for name in topics]
        for name, future in self.admin.create_topics(new, request_timeout=self._timeout).items():
            self._result(future, name, KafkaError.TOPIC_ALREADY_EXISTS, *_PASSING)

    def _result(self, future: Future[Any], topic: str, *harmless: int) -> None:
        """Wait for an answer about a topic; ``harmless`` errors are as good as done."""
        try:
            future.result(self._timeout + 1)
        except KafkaException as failure:
            error = failure.args[0]
            if error.code() in harmless:
                return
            if error.code() in _PASSING:
                self.metadata()
            raise TopicRefused(topic, told(error)) from failure

    def _warn_of_fewer(self, topics: Collection[str], partitions: int) -> None:
        """Called when topics become known, and so once for each."""
        for topic in topics:
            if self._known[topic] < partitions:
                text = "topic %s has %d partitions and %d are asked for; it is left as it is until someone lets it grow"
                logger.warning(text, topic, self._known[topic], partitions)

    def _patiently(
        self, during: str, request: Callable[[], Mapping[Any, Any]], valid: Callable[[Any], bool] = lambda _answer: True
    ) -> dict[Any, Any]:
        """Repeat a request while its errors are of the passing kind: a new topic's leader may not know yet.

        So is one that is answered without an error and not ``valid``: librdkafka does so after a leader has died,
        until the metadata is refreshed.
        """
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                answers = {asked: future.result(self._timeout + 1) for asked, future in request().items()}
                if all(valid(answer) for answer in answers.values()):
                    return answers
                cause: str = "a partition has no leader"
            except TimeoutError:
                cause = f"no answer within {self._timeout:g} s"
            except KafkaException as failure:
                error = failure.args[0]
                if error.code() not in _PASSING:
                    raise self.refusal(during, error) from failure
                cause = told(error)
            self.metadata()
            if time.monotonic() > deadline:
                raise BrokerUnavailable(self._servers, during, cause)
            time.sleep(0.03)

    def refusal(self, during: str, error: KafkaError) -> TransportError:
        """Return a request's error as one that a person can act on."""
        if is_denied(error):
            return AccessDenied(during, told(error))
        return BrokerUnavailable(self._servers, during, told(error))
