"""Kafka of the stack from its jars: one broker or a cluster in KRaft mode, or one beside a ZooKeeper for the seed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from service.devstack.errors import StackError
from service.devstack.instance import HOST, Instance, Profile
from service.devstack.ports import is_free
from service.devstack.programs import Program

DISTRIBUTIONS = {Profile.DEV: "kafka-4.3.1", Profile.SEED: "kafka-3.5.2", Profile.CLUSTER: "kafka-4.3.1"}
_READY_TOPIC = "sentinai.stack-ready"
_ONE_NODE = {
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.network.threads": "2",
    "num.io.threads": "4",
}
_KRAFT = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # The new group protocol takes its timing from the broker, whose default leaves work lying for 45 s.
    "group.consumer.min.session.timeout.ms": "3000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "1000",
}
_REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}
"""What three nodes and more change: everything is kept three times, and twice before it is confirmed."""
_JVM = ("-Xms128m", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
_HEAPS = {Profile.DEV: "-Xmx512m", Profile.SEED: "-Xmx512m", Profile.CLUSTER: "-Xmx256m"}
_ZOOKEEPER_JVM = ("-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-Dzookeeper.admin.enableServer=false")


def log_folder(instance: Instance, broker: str) -> Path:
    """Where a broker keeps its records."""
    return instance.data / broker


def properties_file(instance: Instance, broker: str) -> Path:
    """A broker's server.properties."""
    return instance.conf / f"{broker}.properties"


def broker_properties(instance: Instance, broker: str) -> dict[str, str]:
    """server.properties of one broker."""
    common = {**_ONE_NODE, "log.dirs": str(log_folder(instance, broker))}
    client = f"PLAINTEXT://{instance.address(broker)}"
    if instance.profile is Profile.SEED:
        return {
            **common,
            "broker.id": "1",
            "listeners": client,
            "advertised.listeners": f"PLAINTEXT://localhost:{instance.ports[broker]}",
            "zookeeper.connect": instance.address("zookeeper"),
            "zookeeper.session.timeout.ms": "4000",
        }
    voters = (f"{node_id(instance, other)}@{controller_address(instance, other)}" for other in instance.brokers)
    return {
        **common,
        **_KRAFT,
        **(_REPLICATED if len(instance.brokers) >= 3 else {}),
        "node.id": str(node_id(instance, broker)),
        "listeners": f"{client},CONTROLLER://{controller_address(instance, broker)}",
        "advertised.listeners": client,
        "controller.quorum.voters": ",".join(voters),
    }


def node_id(instance: Instance, broker: str) -> int:
    """A broker's number in its cluster."""
    return instance.brokers.index(broker) + 1


def controller_address(instance: Instance, broker: str) -> str:
    """host:port of a broker's controller listener."""
    return instance.address(broker.replace("kafka", "kafka-controller", 1))


def zookeeper_properties(instance: Instance) -> dict[str, str]:
    """zoo.cfg of the seed's ZooKeeper."""
    return {
        "dataDir": str(instance.data / "zookeeper"),
        "clientPort": str(instance.ports["zookeeper"]),
        "clientPortAddress": HOST,
        "maxClientCnxns": "0",
        "admin.enableServer": "false",
        "4lw.commands.whitelist": "srvr,dump",
        "tickTime": "500",
    }


def render(properties: Mapping[str, str]) -> str:
    """A Java properties file."""
    return "".join(f"{key}={value}\n" for key, value in properties.items())


def prepare(
    instance: Instance,
    broker: str,
    java: Path,
    jars: Path,
    changed: Mapping[str, str],
    format_arguments: Sequence[str] = (),
) -> None:
    """Write a broker's configuration and, on first use, format its record folder.

    `changed` are properties that win over the stack's; `format_arguments` go to Kafka's storage tool.
    """
    path = properties_file(instance, broker)
    path.write_text(render({**broker_properties(instance, broker), **changed}), encoding="utf-8")
    if instance.profile is Profile.SEED:
        (instance.data / "zookeeper").mkdir(parents=True, exist_ok=True)
        text = render(zookeeper_properties(instance))
        (instance.conf / "zookeeper.properties").write_text(text, encoding="utf-8")
        _write_log4j(instance)
    elif not _formatted(instance, broker).exists():
        _format(instance, broker, (str(java), "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"), format_arguments)


def _formatted(instance: Instance, broker: str) -> Path:
    """A mark made last, so that an interrupted format is begun again."""
    return instance.data / f"{broker}.formatted"


def _format(instance: Instance, broker: str, program: Sequence[str], arguments: Sequence[str]) -> None:
    folder = log_folder(instance, broker)
    shutil.rmtree(folder, ignore_errors=True)
    properties = str(properties_file(instance, broker))
    tool = ["kafka.tools.StorageTool", "format", "-t", instance.cluster_id, "-c", properties, *arguments]
    result = subprocess.run([*program, *tool], capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        lines = (result.stderr + result.stdout).strip().splitlines() or ["no reason given"]
        raise StackError(f"Kafka's record folder {folder} could not be formatted: {lines[-1]}")
    _formatted(instance, broker).touch()


def _write_log4j(instance: Instance) -> None:
    lines = (
        "log4j.rootLogger=WARN, out",
        "log4j.appender.out=org.apache.log4j.ConsoleAppender",
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout",
        "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c %m%n",
    )
    (instance.conf / "log4j.properties").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _logging(instance: Instance) -> tuple[str, ...]:
    if instance.profile is Profile.SEED:
        return (f"-Dlog4j.configuration=file:{instance.conf / 'log4j.properties'}",)
    simple = "-Dorg.slf4j.simpleLogger"
    return (f"{simple}.defaultLogLevel=warn", f"{simple}.showDateTime=true", f"{simple}.dateTimeFormat=HH:mm:ss.SSS")


def program(instance: Instance, broker: str, java: Path, jars: Path) -> Program:
    """A supervised broker."""
    options = (*_JVM, _HEAPS[instance.profile], *_logging(instance), "-cp", f"{jars}/*")
    command = (str(java), *options, "kafka.Kafka", str(properties_file(instance, broker)))
    return Program(broker, command, instance.home)


def zookeeper_program(instance: Instance, java: Path, jars: Path) -> Program:
    """The supervised ZooKeeper of the seed."""
    options = (*_ZOOKEEPER_JVM, *_logging(instance), "-cp", f"{jars}/*")
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    return Program("zookeeper", (str(java), *options, main, str(instance.conf / "zookeeper.properties")), instance.home)


def zookeeper_missing(instance: Instance) -> str | None:
    """None when ZooKeeper serves and a broker may register, else why not.

    After a kill the dead broker's session lives on for some seconds, and a new broker that comes too early ends.
    """
    try:
        if not _ask_zookeeper(instance, b"srvr").startswith("Zookeeper"):
            return "it does not serve requests yet"
        if "/brokers/ids/" in _ask_zookeeper(instance, b"dump") and is_free(instance.ports[instance.brokers[0]]):
            return "an earlier broker's session has not expired"
        return None
    except OSError as error:
        return str(error)


def _ask_zookeeper(instance: Instance, command: bytes) -> str:
    with socket.create_connection((HOST, instance.ports["zookeeper"]), timeout=2) as connection:
        connection.sendall(command)
        return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()


def missing(instance: Instance, broker: str) -> str | None:
    """None when a record was produced and confirmed, else why not.

    An open port is not enough: a fresh broker refuses its first idempotent producer for a moment.
    """
    try:
        with socket.create_connection((HOST, instance.ports[broker]), timeout=1):
            pass
        return refusal_of({"bootstrap.servers": instance.address(broker)}, min(3, len(instance.brokers)))
    except OSError as error:
        return str(error)
    except KafkaException as error:
        return str(error.args[0])


def refusal_of(client: Mapping[str, Any], replicas: int = 1) -> str | None:
    """None when a cluster reached with these client settings confirms a record, else why not.

    Raises KafkaException when a client cannot be made or the topic is refused.
    """
    quiet: dict[str, Any] = {**client, "log_level": 0}
    topic = NewTopic(_READY_TOPIC, num_partitions=1, replication_factor=replicas, config={"retention.ms": "60000"})
    try:
        # Named, for its answers are dropped when the client is collected.
        admin = AdminClient(quiet)
        admin.create_topics([topic], request_timeout=5)[_READY_TOPIC].result(6)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    answers: list[KafkaError | None] = []
    producer = Producer({**quiet, "enable.idempotence": True, "message.timeout.ms": 5000})
    producer.produce(_READY_TOPIC, uuid.uuid4().bytes, on_delivery=lambda error, _: answers.append(error))
    producer.flush(6)
    if not answers:
        return "a record was not confirmed within 6 s"
    return None if answers[0] is None else str(answers[0])


def out_of_sync(client: Mapping[str, Any], brokers: int) -> str | None:
    """None when so many brokers are known and every replica on them has caught up, else what is missing."""
    try:
        metadata = AdminClient({**client, "log_level": 0}).list_topics(timeout=5)
    except KafkaException as error:
        return str(error.args[0])
    if len(metadata.brokers) != brokers:
        return f"{len(metadata.brokers)} of {brokers} brokers are known"
    for topic in metadata.topics.values():
        for part in topic.partitions.values():
            if part.leader < 0 or len(part.isrs) < min(brokers, len(part.replicas)):
                return f"{topic.topic}[{part.id}] has leader {part.leader} and in-sync replicas {part.isrs}"
    return None
