"""A connection's group consumers: one for each queue it reads, and one that moves delayed messages.

Each queue has a consumer group of its own, so every worker gets a share of every queue, and beginning or ceasing to
consume one queue disturbs no other. A queue that is let go keeps its consumer for a moment: queues are often switched
back within a second, and a `get` is often followed by another.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..cluster import Cluster
from ..delays.mover import Mover
from ..delays.parking import ensure_delay_topics
from .consumer import GroupConsumer, close_all
from .inbox import Inbox
from .offsets import Progress


class Groups:
    """Starts consumers, lets them linger, ends them. Used by the thread that owns the connection."""

    def __init__(self, cluster: Cluster, inbox: Inbox) -> None:
        self._cluster = cluster
        self._inbox = inbox
        self._consumers: dict[str, GroupConsumer] = {}
        self._mover: GroupConsumer | None = None

    def read(self, topic: str) -> GroupConsumer:
        """Read a queue's topic from now on. Whoever reads queues also moves delayed messages."""
        consumer = self._consumers.get(topic)
        if consumer is None or not consumer.stay():
            group = self._cluster.names.group(self._cluster.options.group_id, topic)
            consumer = self._consumers[topic] = GroupConsumer(self._cluster, group, [topic], self._inbox, consumer)
            consumer.start()
            self._start_mover()
        return consumer

    def leave(self, topic: str, after: float) -> None:
        """Read a topic for ``after`` seconds more, and as long as anything of it is out. Does not wait."""
        consumer = self._consumers.get(topic)
        if consumer is not None:
            consumer.leave_after(after)

    def progress(self, topic: str) -> Mapping[int, Progress]:
        """How far this connection is on its partitions of a topic."""
        consumer = self._consumers.get(topic)
        return consumer.progress(topic) if consumer is not None else {}

    def close(self) -> None:
        """Leave all groups at once."""
        close_all([*self._consumers.values(), *([self._mover] if self._mover is not None else [])])

    def _start_mover(self) -> None:
        if self._mover is None and self._cluster.options.delays:
            ensure_delay_topics(self._cluster)
            mover = Mover(self._cluster, self._inbox.failed)
            topics = self._cluster.route.subscription
            self._mover = GroupConsumer(self._cluster, self._cluster.names.mover_group(), topics, mover)
            self._mover.start()
