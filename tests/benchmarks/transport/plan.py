"""Which cases a full and a quick run have."""

from __future__ import annotations

from collections.abc import Iterator

from .values import Case

_POOLS = (("prefork", 2), ("threads", 4), ("solo", 1))
_IDLE = (("prefork", 2, 1, True), ("prefork", 2, 5, False), ("threads", 4, 1, False), ("threads", 4, 5, False))


def full() -> list[Case]:
    """About a quarter of an hour on two cores."""
    return [
        *_consume(tasks=6000, rounds=3),
        _publish(messages=2000, rounds=3),
        *_latencies(messages=150, seconds=12, idle=8),
        *(_workers(count, tasks=8000) for count in (1, 2, 4)),
        *(_partitions(count, tasks=6000) for count in (1, 8, 64)),
        _memory("waiting", tasks=100_000, seconds=20, limit=90),
        _memory("delayed", tasks=100_000, seconds=90, limit=150),
    ]


def quick() -> list[Case]:
    """A few minutes; fewer messages and one round, so the figures are rougher."""
    return [
        *_consume(tasks=3000, rounds=1),
        _publish(messages=600, rounds=1),
        *_latencies(messages=60, seconds=6, idle=4),
        _memory("delayed", tasks=10_000, seconds=15, limit=60),
    ]


def _consume(tasks: int, rounds: int) -> Iterator[Case]:
    for pool, size in _POOLS:
        arguments = {"pool": pool, "size": size, "tasks": tasks}
        yield Case("consume", arguments, 75, f"no-op tasks, {pool} -c {size}", rounds)


def _publish(messages: int, rounds: int) -> Case:
    return Case("publish", {"messages": messages}, 60, "publishes, apply_async one by one", rounds)


def _latencies(messages: int, seconds: float, idle: float) -> Iterator[Case]:
    bounds = {"messages": messages, "seconds": seconds, "idle": idle}
    for pool, size, queues, extras in _IDLE:
        arguments = {"pool": pool, "size": size, "queues": queues, "extras": extras, **bounds}
        yield Case("latency", arguments, 120, f"latency p50, {pool}, {queues} queue{_s(queues)}")


def _workers(count: int, tasks: int) -> Case:
    return Case("workers", {"count": count, "tasks": tasks}, 120, f"no-op tasks, {count} worker{_s(count)} -c 1")


def _partitions(count: int, tasks: int) -> Case:
    figure = f"no-op tasks, {count} partition{_s(count)}"
    return Case("partitions", {"count": count, "tasks": tasks}, 90, figure, 2, ("ours", "stock"))


def _memory(kind: str, tasks: int, seconds: float, limit: float) -> Case:
    figure = f"memory of the worker's main process, {tasks:,} {kind}"
    return Case("memory", {"kind": kind, "tasks": tasks, "seconds": seconds}, limit, figure)


def _s(count: int) -> str:
    return "s" if count > 1 else ""
