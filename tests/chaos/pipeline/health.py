"""When a part of a world is there again: what it does can be seen from outside."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from service.devstack import kafka, postgres, readiness, redis_server
from service.devstack.applications import WORKER_QUEUES, kind_of
from service.devstack.supervision import LIVE_STATES
from service.devstack.waiting import wait_until
from service.settings import load_settings
from tests.chaos.pipeline.world import World

READY_SECONDS = 120.0
"""Two cores may be busy with everything else that comes back."""
_ASK_SECONDS = 5.0


def wait_there(world: World, names: Collection[str]) -> None:
    """Return when these processes do what they are for. Raises NotReadyError after two minutes."""
    for name in names:
        if name == "postgres":
            # Connections to one that is gone are of no use to anybody.
            world.system.dispose()
        wait_until(lambda name=name: missing(world, name), name, READY_SECONDS, pause=0.2)


def missing(world: World, name: str) -> str | None:
    """None when a process does what it is for, else what is missing."""
    if world.part(name) is None:
        return f"it is {world.supervisor.states()[name].state}"
    checks: dict[str, Callable[[], str | None]] = {
        "api": lambda: readiness.http_missing(f"http://{world.instance.address(name)}/healthz"),
        "dispatcher": lambda: readiness.dispatcher_missing(world.instance),
        "relay": lambda: readiness.relay_missing(world.instance),
        "worker": lambda: _worker_missing(world, name),
        "kafka": lambda: brokers_missing(world),
        "postgres": lambda: postgres.missing(world.instance),
        "redis": lambda: redis_server.missing(world.instance),
        "tool-server": lambda: readiness.http_missing(f"{world.tool_server_url}/healthz"),
    }
    check = checks.get(kind_of(name))
    return check() if check else None


def brokers_missing(world: World) -> str | None:
    """None when every broker that runs is known and has caught up with the others."""
    running = [name for name in world.instance.brokers if world.supervisor.states()[name].state in LIVE_STATES]
    return kafka.out_of_sync({"bootstrap.servers": world.kafka}, len(running))


def _worker_missing(world: World, name: str) -> str | None:
    """None when the worker has its share of every queue."""
    part = world.part(name)
    if part is None:
        return "it does not run"
    group = load_settings(world.environment).worker_group
    groups = [f"{group}.{queue}" for queue in WORKER_QUEUES.split(",")]
    client = f"{socket.gethostname()}:{part.pid}"
    admin = AdminClient({"bootstrap.servers": world.kafka, "log_level": 0})
    try:
        for asked, future in admin.describe_consumer_groups(groups, request_timeout=_ASK_SECONDS).items():
            members = future.result(_ASK_SECONDS + 1).members
            if not any(member.client_id == client and member.assignment.topic_partitions for member in members):
                return f"it has no share of {asked}"
    except KafkaException as error:
        return str(error.args[0])
    return None
