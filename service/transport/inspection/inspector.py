"""What a person wants to know of queues: how much waits, since when, and who works it.

Looks on without taking part: no group is joined and nothing is committed. One pass over all queues makes one request
of each kind (metadata, first and last offsets, members) and one for each queue's commits, all bounded in time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka.admin._listoffsets import OffsetSpec

from ..cluster import Cluster
from ..consuming.offsets import Progress
from ..consuming.tally import Tally, tally
from ..delays.route import read_parked
from ..errors import Undecodable
from .reader import Place, Seen, Span, read
from .survey import Group, Survey

_AGE_WITHIN = 2.0
"""How long the oldest messages may take to be read; an age that is not known by then is left out."""
_SOON_LOOK = 100
"""How many waiting messages of a partition are looked at for the next one due."""


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One partition of a queue. Offsets are -1 where the partition did not answer; ``problem`` says why."""

    partition: int
    leader: int
    low: int
    committed: int | None
    """Everything below is finished; None before the first commit."""
    end: int
    lag: int
    """Messages that are not finished, handed out or not."""
    oldest: datetime | None
    """When the oldest unfinished message was written. None when there is none, or it could not be read in time."""
    owner: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class QueueReport:
    """One queue."""

    queue: str
    topic: str
    group: str
    state: str
    """The group's: ``stable``, ``empty`` (nobody consumes), ``absent`` (nobody ever did), ..."""
    partitions: tuple[PartitionReport, ...]

    @property
    def lag(self) -> int:
        """Messages that are not finished."""
        return sum(partition.lag for partition in self.partitions)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest unfinished message was written."""
        return min((part.oldest for part in self.partitions if part.oldest is not None), default=None)

    @property
    def owners(self) -> tuple[str, ...]:
        """Who consumes it."""
        return tuple(sorted({part.owner for part in self.partitions if part.owner is not None}))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with its partitions."""
        return tuple(f"partition {part.partition}: {part.problem}" for part in self.partitions if part.problem)


@dataclass(frozen=True, slots=True)
class DelayReport:
    """A topic in which messages wait for their time."""

    topic: str
    waiting: int
    next_move: datetime | None
    """When the next message leaves it, for its queue or for a shorter level."""


class Inspector:
    """Looks at the queues of one cluster, under one prefix and group id. Safe to use from any thread.

    Every method raises BrokerUnavailable when the cluster does not answer.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._names = cluster.names
        self._survey = Survey(cluster)

    @property
    def survey(self) -> Survey:
        """The questions this asks."""
        return self._survey

    def group_of(self, queue: str) -> str:
        """Name of the consumer group of a queue."""
        return self._names.group(self._cluster.options.group_id, self._names.queue(queue))

    def known_queues(self) -> list[str]:
        """Queues under the prefix.

        With an empty prefix every topic of the cluster could be one: then those that somebody consumes or did, or
        that an exchange feeds.
        """
        topics = {topic for topic, _ in self._survey.leaders(lambda topic: self._names.queue_of(topic) is not None)}
        queues = sorted(self._names.queue_of(topic) or "" for topic in topics)
        if self._cluster.options.topic_prefix:
            return queues
        groups = self._survey.group_names()
        bindings = self._cluster.bindings
        bindings.check()
        bound = {binding.queue for binding in bindings.bindings()}
        return [queue for queue in queues if queue in bound or self.group_of(queue) in groups]

    def queues(self, queues: Collection[str], *, ages: bool = True) -> list[QueueReport]:
        """Report these queues, in their order; one that has no topic has no partitions.

        ``ages`` costs reading a record of each partition in which something waits (about 0.3 s).
        """
        topics = {queue: self._names.queue(queue) for queue in queues}
        leaders = self._survey.leaders(frozenset(topics.values()).__contains__)
        commits = {topics[queue]: self.group_of(queue) for queue in queues}
        tallies = self._tallies(leaders, commits)
        groups = self._survey.groups(sorted(commits.values()))
        heads = self._heads({place: tally for place, tally in tallies.items() if tally.lag and ages}, 1)
        return [
            QueueReport(
                queue,
                topic,
                commits[topic],
                groups[commits[topic]].state if commits[topic] in groups else "unknown",
                tuple(_partition_reports(topic, leaders, tallies, heads, groups.get(commits[topic]))),
            )
            for queue, topic in topics.items()
        ]

    def delays(self) -> list[DelayReport]:
        """Report the topics in which delayed messages wait."""
        soon, levels = self._names.soon(), self._names.level(0.0).removesuffix("0")
        leaders = self._survey.leaders(lambda topic: topic == soon or topic.startswith(levels))
        tallies = self._tallies(leaders, dict.fromkeys({topic for topic, _ in leaders}, self._names.mover_group()))
        heads = {
            **self._heads({place: tally for place, tally in tallies.items() if tally.lag and place[0] != soon}, 1),
            **self._heads({place: t for place, t in tallies.items() if t.lag and place[0] == soon}, _SOON_LOOK),
        }
        topics = sorted({topic for topic, _ in leaders}, key=lambda topic: (topic != soon, len(topic), topic))
        return [_delay_report(topic, tallies, heads) for topic in topics]

    def tallies(self, topic: str, group: str) -> tuple[dict[Place, Tally], dict[Place, Progress]]:
        """Count a topic's partitions for a group, as far as they answer, and tell what the group committed."""
        leaders = self._survey.leaders(topic.__eq__)
        return self._counted(leaders, {topic: group})

    def poison(self) -> int:
        """Return how many dead letters there are that nobody returned."""
        topic = self._cluster.options.poison_topic
        leaders = self._survey.leaders(topic.__eq__)
        group = self._names.group(self._cluster.options.group_id, topic)
        return sum(tally.lag for tally in self._tallies(leaders, {topic: group}).values())

    def _tallies(self, leaders: Mapping[Place, int], group_of: Mapping[str, str]) -> dict[Place, Tally]:
        """Count each partition that answers."""
        return self._counted(leaders, group_of)[0]

    def _counted(
        self, leaders: Mapping[Place, int], group_of: Mapping[str, str]
    ) -> tuple[dict[Place, Tally], dict[Place, Progress]]:
        """Count each partition that answers, with the commits that it was counted by."""
        alive = [place for place, leader in leaders.items() if leader >= 0]
        lows = self._survey.offsets(alive, OffsetSpec.earliest())
        ends = self._survey.offsets(alive, OffsetSpec.latest())
        asked: dict[str, list[Place]] = {}
        for place in alive:
            asked.setdefault(group_of[place[0]], []).append(place)
        commits = {place: commit for (_, place), commit in self._survey.commits(asked).items()}
        tallies = {
            place: tally(lows[place], ends[place], commits.get(place))
            for place in alive
            # librdkafka may answer with a negative offset and no error when a leader has just died.
            if lows.get(place, -1) >= 0 and ends.get(place, -1) >= 0
        }
        return tallies, commits

    def _heads(self, tallies: Mapping[Place, Tally], count: int) -> dict[Place, list[Seen]]:
        spans = {place: Span(tally.first, count) for place, tally in tallies.items()}
        seen = read(self._cluster, spans, min(_AGE_WITHIN, self._cluster.options.request_timeout))
        return {
            place: [one for one in found if one.arrival.offset not in tallies[place].islands]
            for place, found in seen.items()
        }


def _partition_reports(
    topic: str,
    leaders: Mapping[Place, int],
    tallies: Mapping[Place, Tally],
    heads: Mapping[Place, list[Seen]],
    group: Group | None,
) -> list[PartitionReport]:
    members = group.members if group is not None else ()
    owners = {place: member.title for member in members for place in member.places}
    reports = []
    for place, leader in sorted(leaders.items()):
        if place[0] != topic:
            continue
        counted = tallies.get(place)
        if counted is None:
            problem = "no leader" if leader < 0 else "its leader does not answer"
            reports.append(PartitionReport(place[1], leader, -1, None, -1, 0, None, owners.get(place), problem))
            continue
        oldest = next((one.written for one in heads.get(place, ())), None)
        reports.append(
            PartitionReport(
                place[1],
                leader,
                counted.low,
                counted.committed,
                counted.end,
                counted.lag,
                oldest,
                owners.get(place),
            )
        )
    return reports


def _delay_report(topic: str, tallies: Mapping[Place, Tally], heads: Mapping[Place, list[Seen]]) -> DelayReport:
    waiting = sum(counted.lag for place, counted in tallies.items() if place[0] == topic)
    moments = []
    for place, found in heads.items():
        for one in found if place[0] == topic else ():
            try:
                moments.append(read_parked(one.arrival.headers).release)
            except Undecodable:
                continue
    return DelayReport(topic, waiting, datetime.fromtimestamp(min(moments), UTC) if moments else None)
