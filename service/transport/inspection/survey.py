"""Asking the cluster about many topics and groups at once: leaders, offsets, commits, members.

Requests of one kind leave together and each is bounded in time, so a look at fifty queues costs about as much as a
look at one. A partition that cannot answer (its broker is away) does not spoil the answers of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin._listoffsets import OffsetSpec

from ..cluster import Cluster
from ..consuming.committed import committed
from ..consuming.offsets import Progress
from ..errors import BrokerUnavailable
from .reader import Place

_PATIENCE = 1.0
"""How long a partition may say "not yet": a new topic's leader knows it after some milliseconds."""
_PAUSE = 0.05
_ABANDONED_AFTER = 60.0
"""When librdkafka gives up a request to a group's coordinator. We stop waiting long before: an answer that comes after
it gave up, as from a cluster that has just started, aborts the process (librdkafka 2.16.0)."""
_GROUPS_AT_ONCE = 8
_PASSING = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
_MOVED = frozenset({KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR})
"""A client that is asked again and again goes on asking a coordinator that is none any more, if it lives: it forgets
only those it has not asked for a while. One whose brokers were all away may get no answer for minutes after they are
back. So the next question is a new client's."""

Asked = TypeVar("Asked", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Member:
    """One consumer of a group, and the partitions that are its own."""

    member_id: str
    client_id: str
    host: str
    instance_id: str
    places: tuple[Place, ...]

    @property
    def title(self) -> str:
        """What tells a person which process it is."""
        return f"{self.instance_id or self.client_id}@{self.host}"


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group. ``state`` is Kafka's word in lower case, but ``absent`` for a group that does not exist."""

    name: str
    state: str
    protocol: str
    members: tuple[Member, ...]


class Survey:
    """Questions to one cluster. Safe to use from any thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._topics = cluster.topics
        self._servers = cluster.options.bootstrap_servers
        self._timeout = cluster.options.request_timeout

    def leaders(self, wanted: Callable[[str], bool]) -> dict[Place, int]:
        """Return each partition's leader (a broker's id, -1 when there is none) of the topics that are ``wanted``."""
        found = self._topics.metadata().topics
        return {
            (topic, number): -1 if partition.error is not None else int(partition.leader)
            for topic, described in found.items()
            if wanted(topic)
            for number, partition in described.partitions.items()
        }

    def offsets(self, places: Collection[Place], spec: OffsetSpec) -> dict[Place, int]:
        """Return an offset of each partition; one that does not answer in time is missing.

        Raises:
            BrokerUnavailable: nobody answered, or the cluster refuses.
        """
        answers = self._ask(
            "asking for offsets",
            places,
            lambda open_: {
                (part.topic, part.partition): future
                for part, future in self._topics.admin.list_offsets(
                    {TopicPartition(*place): spec for place in open_}, request_timeout=self._timeout
                ).items()
            },
        )
        return {place: int(answer.offset) for place, answer in answers.items()}

    def commits(self, wanted: Mapping[str, Collection[Place]]) -> dict[tuple[str, Place], Progress]:
        """Return what groups (the keys) committed of partitions; what was never committed is missing."""
        asked = {group: places for group, places in wanted.items() if places}
        with ThreadPoolExecutor(_GROUPS_AT_ONCE) as threads:
            answers = threads.map(lambda group: (group, committed(self._cluster, group, asked[group])), asked)
            return {(group, place): progress for group, found in answers for place, progress in found.items()}

    def groups(self, names: Collection[str]) -> dict[str, Group]:
        """Describe groups; one that does not exist is described as ``absent``."""
        answers = self._ask(
            "asking for groups",
            names,
            lambda open_: self._topics.admin.describe_consumer_groups(list(open_), request_timeout=_ABANDONED_AFTER),
        )
        return {name: _group_of(name, answer) for name, answer in answers.items()}

    def group_names(self) -> set[str]:
        """Return the names of all groups."""
        listing = "groups"
        answers = self._ask(
            "listing groups",
            [listing],
            lambda _: {listing: self._topics.admin.list_consumer_groups(request_timeout=self._timeout)},
        )
        return {group.group_id for group in answers[listing].valid}

    def _ask(
        self,
        during: str,
        items: Collection[Asked],
        request: Callable[[Collection[Asked]], Mapping[Asked, Future[Any]]],
    ) -> dict[Asked, Any]:
        """Ask for all items together; ask again for a moment for those that are not ready."""
        answers: dict[Asked, Any] = {}
        left, deadline = list(items), time.monotonic() + _PATIENCE
        failure: KafkaException | None = None
        while left:
            for item, future in request(left).items():
                try:
                    answers[item] = future.result(self._timeout + 1)
                except FutureTimeout:
                    self._topics.forget_admin()
                    raise BrokerUnavailable(self._servers, during, f"no answer within {self._timeout:g} s") from None
                except KafkaException as refused:
                    failure = refused
                    if refused.args[0].code() not in _PASSING and not _is_silence(refused.args[0]):
                        raise self._topics.refusal(during, refused.args[0]) from refused
            left = [item for item in left if item not in answers]
            if not left or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE)
            self._topics.metadata()
        if failure is not None and items and not answers:
            error: KafkaError = failure.args[0]
            if error.code() in _MOVED:
                self._topics.forget_admin()
            # Of some requests librdkafka gives no more than their name.
            said = f"{error.str().rstrip(': ')} ({error.name()})"
            raise BrokerUnavailable(self._servers, during, said) from failure
        return answers


def _is_silence(error: KafkaError) -> bool:
    return error.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.REQUEST_TIMED_OUT)


def _group_of(name: str, described: Any) -> Group:
    members = [
        Member(
            member_id=member.member_id,
            client_id=member.client_id,
            host=member.host.lstrip("/"),
            instance_id=member.group_instance_id or "",
            places=tuple(
                sorted((part.topic, part.partition) for part in _assigned(member.assignment)),
            ),
        )
        for member in described.members
    ]
    protocol = getattr(described, "type", None)
    return Group(
        name,
        "absent" if described.state is ConsumerGroupState.DEAD else described.state.name.lower(),
        protocol.name.lower() if protocol is not None else "",
        tuple(sorted(members, key=lambda member: (member.title, member.member_id))),
    )


def _assigned(assignment: Any) -> Collection[TopicPartition]:
    return assignment.topic_partitions if assignment is not None else ()
