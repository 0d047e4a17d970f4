"""Why a topic does not do what is asked of it, as far as the cluster tells. Asked when something has failed only."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # ConfigResource is not in its annotations
    AdminClient,
    ConfigResource,
)
from confluent_kafka.admin._metadata import ClusterMetadata

from .errors import is_denied, told
from .troubleshooting.diagnosis import diagnose

_IN_SYNC = "min.insync.replicas"


def condition(admin: AdminClient, metadata: ClusterMetadata, topic: str, timeout: float) -> str:
    """Say why a topic does not confirm what is published; "" when it looks well."""
    found = metadata.topics.get(topic)
    if found is None:
        return why_missing(admin, topic, timeout)
    parts = found.partitions.values()
    if any(part.leader < 0 for part in parts):
        return f"a partition has no leader; {diagnose('', KafkaError.LEADER_NOT_AVAILABLE).advice}"
    in_sync, wanted = min((len(part.isrs) for part in parts), default=0), _in_sync_wanted(admin, topic, timeout)
    if in_sync < wanted:
        advice = diagnose("", KafkaError.NOT_ENOUGH_REPLICAS).advice
        return f"{in_sync} of {wanted} replicas wanted ({_IN_SYNC}) are in sync; {advice}"
    return ""


def why_missing(admin: AdminClient, topic: str, timeout: float) -> str:
    """Say why a topic is not among the cluster's."""
    missing = "it does not exist, and create_topics is off; create it, or check topic_prefix and the queue's name"
    return denial(admin, topic, timeout) or missing


def denial(admin: AdminClient, topic: str, timeout: float) -> str:
    """Say that this user may not describe a topic; "" when that is not so.

    Such a topic looks like one that is not there, until it is asked for by name.
    """
    [future] = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout).values()
    try:
        future.result(timeout + 1)
    except KafkaException as failure:
        if is_denied(failure.args[0]):
            return told(failure.args[0])
    return ""


def _in_sync_wanted(admin: AdminClient, topic: str, timeout: float) -> int:
    """What the topic's setting says; 1 where this user may not read it."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    [future] = admin.describe_configs([resource], request_timeout=timeout).values()
    try:
        return int(future.result(timeout + 1)[_IN_SYNC].value)
    except KafkaException:
        return 1
