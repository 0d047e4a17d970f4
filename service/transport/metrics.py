"""What this process's transport did, as samples for Prometheus or anything like it. Needs no client library.

An application calls :func:`samples` when it is scraped and hands them to its own registry, or writes
:func:`exposition` into its ``/metrics`` answer. The numbers are those of the calling process: each pool process of a
worker has its own. How much waits in the queues is not here, for it is not a process's own; see
:mod:`service.transport.inspection.inspector`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .cluster import Cluster, clusters
from .counters import BOUNDS, Distribution

_PREFIX = "kafka_transport_"

COUNTS = {
    "acks_fenced": "Acknowledgements that came after the partition had left; their messages run again elsewhere.",
    "bindings_checks": "Times the copy of the shared bindings was checked.",
    "bindings_reads": "Times something new was read into it.",
    "bindings_skipped": "Records of bindings that this version does not understand.",
    "bindings_unchecked": "Times the copy was used because the cluster did not answer.",
    "bindings_written": "Changes of shared exchanges and bindings written by this process.",
    "broadcasts_dropped": "Broadcast messages dropped because their listener was too slow.",
    "client_errors": "Errors librdkafka told, most of them passing.",
    "commits": "Commits of finished offsets that the cluster confirmed.",
    "commits_failed": "Commits that failed, and were repeated.",
    "consumer_errors": "Errors met while reading.",
    "dead_lettered": "Messages moved to the poison topic.",
    "delayed": "Messages published with a time, and sent to wait.",
    "delays_delivered": "Delayed messages handed to their queues.",
    "delays_retried": "Delayed messages whose next place did not take them, tried again.",
    "delays_untrimmed": "Failures to delete delayed messages that had moved on.",
    "delivered": "Messages handed out for the first time.",
    "expired": "Messages whose expiration passed before they were handed out.",
    "partitions_assigned": "Partitions this process was given.",
    "partitions_lost": "Partitions taken away without notice: the process was silent too long.",
    "partitions_revoked": "Partitions given back in a rebalance or at the end.",
    "priorities_ignored": "Messages published with a priority, which has no effect.",
    "producers_replaced": "Producers that could not go on and were replaced.",
    "publish_failed": "Messages the cluster did not confirm.",
    "published": "Messages the cluster confirmed.",
    "rebalances": "Times a consumer group this process is in shared its partitions out anew.",
    "redelivered": "Messages handed out that may have been handed out before.",
    "requeued": "Messages put back by their consumer.",
    "topics_grown": "Times a topic was seen to have more partitions than before.",
    "unroutable": "Messages that no queue took.",
}
"""What is counted, and what it means. A count that is not listed is exported as well."""

LEVELS = {
    "buffered_messages": "Messages read and not handed out yet.",
    "buffered_bytes": "Bytes of their bodies.",
    "queues_full": "Queues whose buffer is full; their partitions are paused.",
    "unacknowledged_messages": "Messages handed out and not acknowledged.",
}
"""What rises and falls."""

TIMES = {"delay_lateness": "How long after its time a delayed message was confirmed in its queue."}
"""What is observed in seconds."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number, as Prometheus has it.

    ``family`` is the metric's name, ``name`` that of this number (a histogram has ``_bucket``, ``_sum`` and
    ``_count``), ``kind`` is ``counter``, ``gauge`` or ``histogram``.
    """

    family: str
    name: str
    kind: str
    help: str
    labels: tuple[tuple[str, str], ...]
    value: float


def samples(of: Iterable[Cluster] | None = None) -> list[Sample]:
    """Return the samples of these clusters; of all this process has opened, by default.

    Labels are ``cluster`` (its servers) and ``group``. Connections with different options to one cluster and group
    are summed. Samples of one family stand together.
    """
    summed: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
    for cluster in clusters() if of is None else of:
        for sample in _of_one(cluster):
            key = sample.name, sample.labels
            before = summed[key].value if key in summed else 0.0
            value = max(before, sample.value) if sample.name.endswith("_max") else before + sample.value
            summed[key] = Sample(sample.family, sample.name, sample.kind, sample.help, sample.labels, value)
    return sorted(summed.values(), key=lambda sample: sample.family)


def exposition(wanted: Iterable[Sample]) -> str:
    """Write samples in Prometheus's text format."""
    lines, family = [], ""
    for sample in wanted:
        if sample.family != family:
            family = sample.family
            lines += [f"# HELP {family} {sample.help}", f"# TYPE {family} {sample.kind}"]
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in sample.labels)
        lines.append(f"{sample.name}{{{labels}}} {sample.value!r}")
    return "".join(f"{line}\n" for line in lines)


def _of_one(cluster: Cluster) -> Iterator[Sample]:
    labels = (("cluster", cluster.options.bootstrap_servers), ("group", cluster.options.group_id))
    counts, levels, times = cluster.counters.snapshot(), cluster.counters.levels(), cluster.counters.distributions()
    for name in sorted(COUNTS.keys() | counts.keys()):
        family = f"{_PREFIX}{name}_total"
        yield Sample(family, family, "counter", COUNTS.get(name, name), labels, float(counts.get(name, 0)))
    for name in sorted(LEVELS.keys() | levels.keys()):
        family = f"{_PREFIX}{name}"
        yield Sample(family, family, "gauge", LEVELS.get(name, name), labels, float(levels.get(name, 0)))
    for name in sorted(TIMES.keys() | times.keys()):
        seen = times.get(name, Distribution(0, 0.0, 0.0, (0,) * len(BOUNDS)))
        yield from _histogram(f"{_PREFIX}{name}_seconds", TIMES.get(name, name), labels, seen)


def _histogram(family: str, help_: str, labels: tuple[tuple[str, str], ...], seen: Distribution) -> Iterator[Sample]:
    for bound, count in zip([*(f"{bound:g}" for bound in BOUNDS), "+Inf"], [*seen.classes, seen.count], strict=True):
        yield Sample(family, f"{family}_bucket", "histogram", help_, (*labels, ("le", bound)), float(count))
    yield Sample(family, f"{family}_sum", "histogram", help_, labels, seen.total)
    yield Sample(family, f"{family}_count", "histogram", help_, labels, float(seen.count))
    longest = f"{family}_max"
    yield Sample(longest, longest, "gauge", f"{help_} The longest.", labels, seen.longest)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
