"""Kafka of the stack: one broker from its jars; in KRaft mode, or beside a ZooKeeper as the seed has it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from service.devstack.errors import StackError
from service.devstack.instance import HOST, Instance, Profile
from service.devstack.ports import is_free
from service.devstack.programs import Program

DISTRIBUTIONS = {Profile.DEV: "kafka-4.3.1", Profile.SEED: "kafka-3.5.2"}
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
    "node.id": "1",
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
_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
_ZOOKEEPER_JVM = ("-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-Dzookeeper.admin.enableServer=false")


def log_folder(instance: Instance) -> Path:
    """Where the broker keeps its records."""
    return instance.data / "kafka"


def broker_properties(instance: Instance) -> dict[str, str]:
    """server.properties of the one broker."""
    common = {**_ONE_NODE, "log.dirs": str(log_folder(instance))}
    client = f"PLAINTEXT://{instance.address('kafka')}"
    if instance.profile is Profile.SEED:
        return {
            **common,
            "broker.id": "1",
            "listeners": client,
            "advertised.listeners": f"PLAINTEXT://localhost:{instance.ports['kafka']}",
            "zookeeper.connect": instance.address("zookeeper"),
            "zookeeper.session.timeout.ms": "4000",
        }
    controller = instance.address("kafka-controller")
    return {
        **common,
        **_KRAFT,
        "listeners": f"{client},CONTROLLER://{controller}",
        "advertised.listeners": client,
        "controller.quorum.voters": f"1@{controller}",
    }


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


def prepare(instance: Instance, java: Path, jars: Path) -> None:
    """Write the configuration and, on first use, format the record folder."""
    path = instance.conf / "kafka.properties"
    path.write_text(render(broker_properties(instance)), encoding="utf-8")
    if instance.profile is Profile.SEED:
        (instance.data / "zookeeper").mkdir(parents=True, exist_ok=True)
        text = render(zookeeper_properties(instance))
        (instance.conf / "zookeeper.properties").write_text(text, encoding="utf-8")
        _write_log4j(instance)
    elif not _formatted(instance).exists():
        _format(instance, java, jars, path)


def _formatted(instance: Instance) -> Path:
    """A mark made last, so that an interrupted format is begun again."""
    return instance.data / "kafka.formatted"


def _format(instance: Instance, java: Path, jars: Path, properties: Path) -> None:
    shutil.rmtree(log_folder(instance), ignore_errors=True)
    tool = ["-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", "kafka.tools.StorageTool"]
    command = [str(java), *tool, "format", "-t", instance.cluster_id, "-c", str(properties)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        lines = (result.stderr + result.stdout).strip().splitlines() or ["no reason given"]
        raise StackError(f"Kafka's record folder {log_folder(instance)} could not be formatted: {lines[-1]}")
    _formatted(instance).touch()


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


def program(instance: Instance, java: Path, jars: Path) -> Program:
    """The supervised broker."""
    options = (*_JVM, *_logging(instance), "-cp", f"{jars}/*")
    command = (str(java), *options, "kafka.Kafka", str(instance.conf / "kafka.properties"))
    return Program("kafka", command, instance.home)


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
        if "/brokers/ids/" in _ask_zookeeper(instance, b"dump") and is_free(instance.ports["kafka"]):
            return "an earlier broker's session has not expired"
        return None
    except OSError as error:
        return str(error)


def _ask_zookeeper(instance: Instance, command: bytes) -> str:
    with socket.create_connection((HOST, instance.ports["zookeeper"]), timeout=2) as connection:
        connection.sendall(command)
        return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()


def missing(instance: Instance) -> str | None:
    """None when a record was produced and confirmed, else why not.

    An open port is not enough: a fresh broker refuses its first idempotent producer for a moment.
    """
    try:
        with socket.create_connection((HOST, instance.ports["kafka"]), timeout=1):
            pass
        return refusal_of({"bootstrap.servers": instance.address("kafka")})
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
