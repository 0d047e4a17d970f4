"""All faults by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.pipeline.faults import (
    brokers,
    cache,
    clock,
    database,
    disk,
    membership,
    network,
    processes,
    tools,
    topics,
)
from tests.chaos.pipeline.faults.fault import Fault

_MODULES = (processes, brokers, database, cache, network, disk, clock, topics, membership, tools)


def catalogue() -> Mapping[str, Fault]:
    """New ones, none of which has struck."""
    return {fault.name: fault for module in _MODULES for fault in module.faults()}
