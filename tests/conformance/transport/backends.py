"""The backends of the suite: our transport on three kinds of Kafka, and Redis as the control."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kombu import Connection

from service.transport.cluster import cluster_of
from service.transport.options import Options
from tests.brokers import kafka_cluster
from tests.conformance.transport.differences import differs

NAMES = ("kafka-4", "kafka-3.5", "kafka-3-nodes", "redis")


@dataclass(frozen=True)
class Backend:
    """Where a connection goes, and a corner of it that nobody else uses."""

    name: str
    url: str
    transport: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def connect(self, **more: Any) -> Connection:
        """A connection of this process, not opened yet."""
        options = {**self.options, **more}
        return Connection(self.url, transport=self.transport, transport_options=options)

    @property
    def on_kafka(self) -> bool:
        """Whether this is our transport."""
        return self.name != "redis"

    def differs(self, difference: str) -> bool:
        """Whether a difference of the table applies here."""
        return differs(difference, self.name)

    @property
    def ports(self) -> frozenset[int]:
        """Where its servers listen."""
        if not self.on_kafka:
            return frozenset({urlsplit(self.url).port or 6379})
        return frozenset(int(server.rpartition(":")[2]) for server in self.servers.split(","))

    @property
    def servers(self) -> str:
        """Bootstrap servers."""
        return str(self.options["bootstrap_servers"])

    def cut_connections(self) -> int:
        """Break every TCP connection of this process to the backend, as a network that fails does."""
        count = 0
        for descriptor in _sockets():
            try:
                with socket.socket(fileno=os.dup(descriptor)) as connection:
                    if _peer_port(connection) in self.ports:
                        connection.shutdown(socket.SHUT_RDWR)
                        count += 1
            except OSError:  # closed meanwhile by its owner
                continue
        return count


@contextmanager
def open_backend(name: str, environment: Mapping[str, str]) -> Iterator[Backend]:
    """The backend of this name: on the services of the environment, or on a cluster started for it."""
    if name == "redis":
        keys = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
        corner = _corner()
        yield Backend(name, environment["REDIS_URL"], options={key: f"{corner}-{key}" for key in keys})
    elif name == "kafka-4":
        with _kafka(name, environment["KAFKA_BOOTSTRAP_SERVERS"]) as backend:
            yield backend
    else:
        arguments: dict[str, Any] = {"zookeeper": True} if name == "kafka-3.5" else {"nodes": 3}
        with kafka_cluster(**arguments) as cluster, _kafka(name, cluster.bootstrap_servers) as backend:
            yield backend


@contextmanager
def _kafka(name: str, servers: str) -> Iterator[Backend]:
    corner = _corner()
    options = {"bootstrap_servers": servers, "topic_prefix": f"{corner}-", "group_id": corner, "partitions": 4}
    yield Backend(name, f"kafka://{servers.split(',')[0]}//", "service.transport:Transport", options)
    topics = cluster_of(Options(**options)).topics
    if ours := [topic for topic in topics.metadata().topics if corner in topic]:
        for deleted in topics.admin.delete_topics(ours).values():
            deleted.result(30)


def _corner() -> str:
    return f"c{uuid.uuid4().hex[:8]}"


def _sockets() -> list[int]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if str(entry.readlink()).startswith("socket:"):
                found.append(int(entry.name))
        except FileNotFoundError:
            continue
    return found


def _peer_port(connection: socket.socket) -> int | None:
    try:
        peer = connection.getpeername()
    except OSError:
        return None
    return peer[1] if isinstance(peer, tuple) else None
