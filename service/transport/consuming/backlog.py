"""How much of a queue is left to do."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka.admin._listoffsets import OffsetSpec

from ..cluster import Cluster
from .committed import committed
from .offsets import Progress
from .tally import tally


def backlog(cluster: Cluster, topic: str, group: str, ours: Mapping[int, Progress]) -> int:
    """Count a topic's messages that the group has not finished, as far as commits and ``ours`` tell.

    ``ours`` is this process's progress by partition, which may be ahead of what is committed.

    Raises:
        BrokerUnavailable: the cluster does not answer in time.
    """
    lows, ends = cluster.topics.ends(topic, OffsetSpec.earliest()), cluster.topics.ends(topic)
    if not ends:
        return 0
    commits = committed(cluster, group, [(topic, number) for number in ends])
    progress = {number: commit for (_, number), commit in commits.items()} | dict(ours)
    return sum(tally(lows[number], end, progress.get(number)).lag for number, end in ends.items())
