"""What there is to say of each topic of the transport."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]  # not exported in its annotations

from ..cluster import Cluster
from ..inspection.moments import span
from .target import Target

_SETTINGS = ("cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas", "max.message.bytes")
"""Settings that decide what is lost, refused or kept."""


def describe_topics(target: Target, *, everything: bool) -> list[dict[str, Any]]:
    """A row for each queue and each topic the transport keeps for itself, by name."""
    cluster = target.cluster
    found = cluster.topics.metadata().topics
    queues = None if everything else set(target.queues(()))
    kinds = {topic: kind for topic in found if (kind := kind_of(cluster, topic, queues))}
    configs = _configs(cluster, kinds)
    rows = []
    for topic, kind in sorted(kinds.items()):
        partitions = list(found[topic].partitions.values())
        rows.append(
            {
                "topic": topic,
                "kind": kind,
                "queue": cluster.names.queue_of(topic) if kind == "queue" else None,
                "partitions": len(partitions),
                "replication": max((len(partition.replicas) for partition in partitions), default=0),
                "under_replicated": sum(len(partition.isrs) < len(partition.replicas) for partition in partitions),
                "leaderless": sum(partition.leader < 0 for partition in partitions),
                "kept": _kept(configs.get(topic, {})),
                "config": configs.get(topic, {}),
            }
        )
    return rows


def kind_of(cluster: Cluster, topic: str, queues: Collection[str] | None) -> str | None:
    """What a topic is for; None when it is none of ours. ``queues`` None: whatever could be a queue is one."""
    names, own = cluster.names, cluster.options.topic_prefix + "_"
    if topic == cluster.options.poison_topic:
        return "dead letters"
    if topic == names.soon() or topic.startswith(f"{own}wait."):
        return "delays"
    if topic == names.broadcast("") or topic.startswith(f"{own}x."):
        return "broadcast"
    if topic == f"{own}bindings":
        return "bindings"
    queue = names.queue_of(topic)
    return "queue" if queue is not None and (queues is None or queue in queues) else None


def _kept(config: Mapping[str, str]) -> str:
    """How long records are kept."""
    if "compact" in config.get("cleanup.policy", ""):
        return "the newest of each key"
    milliseconds = int(config.get("retention.ms", "-1"))
    times = "for ever" if milliseconds < 0 else span(milliseconds / 1000)
    size = int(config.get("retention.bytes", "-1"))
    return times if size < 0 else f"{times}, up to {size >> 20} MiB a partition"


def _configs(cluster: Cluster, topics: Collection[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
    if not asked:
        return {}
    timeout = cluster.options.request_timeout
    answers = cluster.topics.admin.describe_configs(asked, request_timeout=timeout)
    found = {resource.name: future.result(timeout + 1) for resource, future in answers.items()}
    return {
        topic: {name: str(entries[name].value) for name in _SETTINGS if name in entries}
        for topic, entries in found.items()
    }
