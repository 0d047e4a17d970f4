"""Kafka clusters for tests beyond the stack's one node: three nodes, other broker settings, TLS, or ZooKeeper.

They run from the jars and the Java of the local stack, on ports and in a folder of their own, and are ended by pid
and removed with the context manager; what a killed run left behind goes with the next one. How a node is configured
and started is the stack's business (`service.devstack.kafka`); here is only what a cluster adds to it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from service.devstack import cache, jars, java, kafka, processes
from service.devstack.errors import StackError
from service.devstack.instance import SEED_PASSWORDS, Instance, Profile, new_cluster_id
from service.devstack.ports import choose_ports
from service.devstack.programs import Program
from service.devstack.waiting import wait_until

PORTS = range(23_500, 24_500)
_HOMES = Path(__file__).resolve().parents[1] / ".stack" / "brokers"
_HEAP = "-Xmx256m"
_READY_SECONDS = 120
_numbers = itertools.count(1)


@contextmanager
def kafka_cluster(
    nodes: int = 1,
    *,
    zookeeper: bool = False,
    protocol: str = "PLAINTEXT",
    properties: Mapping[str, str] | None = None,
    format_arguments: Sequence[str] = (),
    client: Mapping[str, Any] | None = None,
) -> Iterator[KafkaCluster]:
    """A cluster that is ready: `nodes` of Kafka 4.3 in KRaft mode, or one of 3.5 with `zookeeper`.

    `protocol` is the security protocol of the client listener, which has its name; `properties` win over what
    would be in server.properties, `format_arguments` go to the storage tool (`--add-scram …`), and `client` is
    what an AdminClient and a Producer need besides the servers. Raises StackError with the brokers' last words.
    """
    remove_leftovers()
    home = _HOMES / f"{os.getpid()}-{next(_numbers)}"
    cluster = KafkaCluster(home, nodes, zookeeper, protocol, properties or {}, client or {})
    try:
        cluster.start_all(format_arguments)
        yield cluster
    finally:
        cluster.remove()


class KafkaCluster:
    """Nodes, numbered from 1, which can be killed and started again."""

    def __init__(
        self,
        home: Path,
        nodes: int,
        zookeeper: bool,
        protocol: str,
        properties: Mapping[str, str],
        client: Mapping[str, Any],
    ) -> None:
        self._home = home
        self._zookeeper = zookeeper
        self._protocol = protocol
        self._properties = dict(properties)
        self._client = dict(client)
        profile = Profile.SEED if zookeeper else Profile.DEV
        self._java = java.find_java(cache.cache_folder(os.environ), os.environ, print)
        self._jars = jars.install(kafka.DISTRIBUTIONS[profile], cache.cache_folder(os.environ), os.environ, print)
        names = [f"{kind}-{node}" for node in range(1, nodes + 1) for kind in ("kafka", "kafka-controller")]
        ports = choose_ports([*names, "zookeeper"], {}, PORTS)
        cluster_id = new_cluster_id()
        self._nodes = {node: _instance(home, node, profile, ports, cluster_id) for node in range(1, nodes + 1)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def nodes(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self._nodes)

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every node."""
        return ",".join(node.address("kafka") for node in self._nodes.values())

    @property
    def client(self) -> dict[str, Any]:
        """Settings of a client that may do anything."""
        return {"bootstrap.servers": self.bootstrap_servers, **self._client}

    def start_all(self, format_arguments: Sequence[str] = ()) -> None:
        """Write the configurations, format the folders, start every node, and wait until the cluster is ready."""
        for number, node in self._nodes.items():
            for folder in (node.conf, node.data, node.logs):
                folder.mkdir(parents=True)
            self._configure(number, node, format_arguments)
        if self._zookeeper:
            node = self._nodes[1]
            self._run(kafka.zookeeper_program(node, self._java, self._jars))
            wait_until(lambda: kafka.zookeeper_missing(node), "ZooKeeper", 60, alive=self._require_alive)
        for number in self._nodes:
            self.start(number)
        self.wait_ready()

    def start(self, node: int) -> None:
        """Start a node that does not run; see :meth:`wait_ready`."""
        program = kafka.program(self._nodes[node], self._java, self._jars)
        if self._zookeeper:
            # The session of one that was killed lives on for some seconds, and its successor would end at once.
            wait_until(lambda: kafka.zookeeper_missing(self._nodes[node]), "ZooKeeper", 30)
        self._run(program, f"kafka-{node}")

    def send(self, node: int, which: signal.Signals) -> None:
        """Send a signal to a node's process: SIGSTOP and SIGCONT, say."""
        self._running[f"kafka-{node}"].send_signal(which)

    def kill(self, node: int, which: signal.Signals = signal.SIGKILL) -> None:
        """End a node and return when its process is gone."""
        process = self._running.pop(f"kafka-{node}")
        process.send_signal(which)
        process.wait(30)

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Return when every running node is known and in sync, and a record was confirmed."""
        wait_until(self._missing, "the Kafka cluster", seconds, alive=self._require_alive)

    def log(self, node: int) -> str:
        """What a node wrote."""
        return (self._home / f"kafka-{node}.log").read_text(errors="replace")

    def remove(self) -> None:
        """End every process and delete every file."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)

    def _configure(self, number: int, node: Instance, format_arguments: Sequence[str]) -> None:
        if self._zookeeper:
            kafka.prepare(node, self._java, self._jars)
        path = node.conf / "kafka.properties"
        path.write_text(kafka.render(self._server_properties(number, node)), encoding="utf-8")
        if not self._zookeeper:
            tool = ["-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*", "kafka.tools.StorageTool", "format"]
            command = [str(self._java), *tool, "-t", node.cluster_id, "-c", str(path), *format_arguments]
            result = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if result.returncode != 0:
                raise StackError(f"node {number} could not be formatted: {result.stderr}{result.stdout}")

    def _server_properties(self, number: int, node: Instance) -> dict[str, str]:
        usual = kafka.broker_properties(node)
        if self._zookeeper:
            return {**usual, **self._properties}
        listener = f"{self._protocol}://{node.address('kafka')}"
        voters = (f"{other}@{there.address('kafka-controller')}" for other, there in self._nodes.items())
        return {
            **usual,
            **(_replicated() if len(self._nodes) > 1 else {}),
            "node.id": str(number),
            "listeners": f"{listener},CONTROLLER://{node.address('kafka-controller')}",
            "advertised.listeners": listener,
            "inter.broker.listener.name": self._protocol,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{self._protocol}:{self._protocol}",
            "controller.quorum.voters": ",".join(voters),
            **self._properties,
        }

    def _run(self, program: Program, name: str = "") -> None:
        command = [_HEAP if part.startswith("-Xmx") else part for part in program.command]
        name = name or program.name
        with (self._home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=self._home,
                env={**os.environ, processes.MARKER: str(self._home)},
                stdout=log,
                stderr=log,
                # Ctrl-C is for the tests, which may still need their broker to clean up.
                start_new_session=True,
            )

    def out_of_sync(self) -> str | None:
        """None when every running node is known and has caught up, else what is missing; looks once."""
        up = sum(name.startswith("kafka-") for name in self._running)
        try:
            metadata = AdminClient({**self.client, "log_level": 0}).list_topics(timeout=5)
        except KafkaException as error:
            return str(error.args[0])
        if len(metadata.brokers) != up:
            return f"{len(metadata.brokers)} of {up} nodes are known"
        for topic in metadata.topics.values():
            for part in topic.partitions.values():
                if part.leader < 0 or len(part.isrs) < min(up, len(part.replicas)):
                    return f"{topic.topic}[{part.id}] has leader {part.leader} and in-sync replicas {part.isrs}"
        return None

    def _missing(self) -> str | None:
        try:
            return self.out_of_sync() or kafka.refusal_of(self.client, min(3, len(self._nodes)))
        except KafkaException as error:
            return str(error.args[0])

    def _require_alive(self) -> None:
        for name, process in self._running.items():
            if process.poll() is not None:
                words = (self._home / f"{name}.log").read_text(errors="replace")[-3000:]
                raise StackError(f"{name} ended with {process.returncode}: {words}")


def remove_leftovers() -> None:
    """End and remove the clusters of test runs whose process is gone."""
    for home in _HOMES.glob("*-*"):
        owner = home.name.partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            processes.end(processes.belonging(home), 1)
            shutil.rmtree(home, ignore_errors=True)


def _instance(home: Path, node: int, profile: Profile, ports: Mapping[str, int], cluster_id: str) -> Instance:
    own = {kind: ports[f"{kind}-{node}"] for kind in ("kafka", "kafka-controller")}
    every = {**own, "zookeeper": ports["zookeeper"]}
    return Instance(f"node-{node}", profile, home / f"node-{node}", every, SEED_PASSWORDS, cluster_id)


def _replicated() -> dict[str, str]:
    """What more than one node changes: everything is kept three times, and twice before it is confirmed."""
    return {
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "share.coordinator.state.topic.replication.factor": "3",
        "share.coordinator.state.topic.min.isr": "2",
    }
