"""Notices that a group is never joined because the broker does not have the group protocol that was chosen.

With ``group.protocol=consumer`` (KIP-848) and a broker that does not know it, librdkafka asks for ever and silently.
"""

from __future__ import annotations

import math
import time

from confluent_kafka import KafkaException

from ..cluster import Cluster
from ..errors import NoSuchProtocol

_JOIN_WITHIN = 10.0


class JoinWatch:
    """Used by the thread that owns the Consumer only. Costs nothing with the classic protocol, or once joined."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self._cluster = cluster
        self._group = group
        new_protocol = cluster.options.consumer_config.get("group.protocol") == "consumer"
        self._due = time.monotonic() + _JOIN_WITHIN if new_protocol else math.inf

    def look(self, joined: bool) -> None:
        """Look whether it is time to be worried.

        Raises:
            NoSuchProtocol: the coordinator answers, and knows of no member.
        """
        if joined:
            self._due = math.inf
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + _JOIN_WITHIN
            if self._has_no_member():
                raise NoSuchProtocol(self._group, _JOIN_WITHIN)

    def _has_no_member(self) -> bool:
        timeout = self._cluster.options.request_timeout
        # librdkafka gets more time than we wait: an answer that comes after its own limit aborts the process.
        asked = self._cluster.topics.admin.describe_consumer_groups([self._group], request_timeout=60.0)
        try:
            return not asked[self._group].result(timeout).members
        except TimeoutError:
            return False
        except KafkaException as failure:
            # A coordinator that is away is no proof; Kafka 4 says so for a group that nobody has joined.
            return bool(failure.args[0].code() == failure.args[0].GROUP_ID_NOT_FOUND)
