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

from service.devstack import cache, jars, java, kafka, processes
from service.devstack.errors import StackError
from service.devstack.instance import SEED_PASSWORDS, Instance, Profile, new_cluster_id
from service.devstack.ports import choose_ports
from service.devstack.programs import Program
from service.devstack.waiting import wait_until

PORTS = range(23_500, 24_500)
_HOMES = Path(__file__).resolve().parents[1] / ".stack" / "brokers"
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
        profile = Profile.SEED if zookeeper else Profile.CLUSTER
        self._java = java.find_java(cache.cache_folder(os.environ), os.environ, print)
        self._jars = jars.install(kafka.DISTRIBUTIONS[profile], cache.cache_folder(os.environ), os.environ, print)
        numbered = [f"{kind}-{node}" for node in range(1, nodes + 1) for kind in ("kafka", "kafka-controller")]
        ports = choose_ports(["kafka", "zookeeper"] if zookeeper else numbered, {}, PORTS)
        self._instance = Instance("cluster", profile, home, ports, SEED_PASSWORDS, new_cluster_id())
        self._brokers = dict(enumerate(self._instance.brokers, start=1))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def nodes(self) -> tuple[int, ...]:
        """Their numbers."""
        return tuple(self._brokers)

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every node."""
        return self._instance.bootstrap_servers

    @property
    def client(self) -> dict[str, Any]:
        """Settings of a client that may do anything."""
        return {"bootstrap.servers": self.bootstrap_servers, **self._client}

    def start_all(self, format_arguments: Sequence[str] = ()) -> None:
        """Write the configurations, format the folders, start every node, and wait until the cluster is ready."""
        for folder in (self._instance.conf, self._instance.data, self._instance.logs):
            folder.mkdir(parents=True)
        for broker in self._brokers.values():
            changed = {**self._listener(broker), **self._properties}
            kafka.prepare(self._instance, broker, self._java, self._jars, changed, format_arguments)
        if self._zookeeper:
            self._run(kafka.zookeeper_program(self._instance, self._java, self._jars))
            wait_until(self._zookeeper_missing, "ZooKeeper", 60, alive=self._require_alive)
        for node in self._brokers:
            self.start(node)
        self.wait_ready()

    def start(self, node: int) -> None:
        """Start a node that does not run; see :meth:`wait_ready`."""
        if self._zookeeper:
            # The session of one that was killed lives on for some seconds, and its successor would end at once.
            wait_until(self._zookeeper_missing, "ZooKeeper", 30)
        self._run(kafka.program(self._instance, self._brokers[node], self._java, self._jars))

    def send(self, node: int, which: signal.Signals) -> None:
        """Send a signal to a node's process: SIGSTOP and SIGCONT, say. What is to stop has stopped when it returns."""
        process = self._running[self._brokers[node]]
        process.send_signal(which)
        if which is signal.SIGSTOP:
            # The threads of a process stop one after the other; until then a broker may still answer.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)

    def kill(self, node: int, which: signal.Signals = signal.SIGKILL) -> None:
        """End a node and return when its process is gone."""
        process = self._running.pop(self._brokers[node])
        process.send_signal(which)
        process.wait(30)

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Return when every running node is known and in sync, and a record was confirmed."""
        wait_until(self._missing, "the Kafka cluster", seconds, alive=self._require_alive)

    def log(self, node: int) -> str:
        """What a node wrote."""
        return (self._home / f"{self._brokers[node]}.log").read_text(errors="replace")

    def remove(self) -> None:
        """End every process and delete every file."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait(30)
        shutil.rmtree(self._home, ignore_errors=True)

    def _listener(self, broker: str) -> dict[str, str]:
        """The client listener, which is called what its security protocol is called."""
        if self._zookeeper:
            return {}
        listener = f"{self._protocol}://{self._instance.address(broker)}"
        return {
            "listeners": f"{listener},CONTROLLER://{kafka.controller_address(self._instance, broker)}",
            "advertised.listeners": listener,
            "inter.broker.listener.name": self._protocol,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{self._protocol}:{self._protocol}",
        }

    def _zookeeper_missing(self) -> str | None:
        return kafka.zookeeper_missing(self._instance)

    def _run(self, program: Program) -> None:
        with (self._home / f"{program.name}.log").open("ab") as log:
            self._running[program.name] = subprocess.Popen(
                list(program.command),
                cwd=self._home,
                env={**os.environ, processes.MARKER: str(self._home)},
                stdout=log,
                stderr=log,
                # Ctrl-C is for the tests, which may still need their broker to clean up.
                start_new_session=True,
            )

    def out_of_sync(self) -> str | None:
        """None when every running node is known and has caught up, else what is missing; looks once."""
        up = sum(name in self._brokers.values() for name in self._running)
        return kafka.out_of_sync(self.client, up)

    def _missing(self) -> str | None:
        try:
            return self.out_of_sync() or kafka.refusal_of(self.client, min(3, len(self._brokers)))
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
