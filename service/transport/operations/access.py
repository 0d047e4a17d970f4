"""Which ACLs each role needs, as data: the document's table and the ACLs of the test come from here.

Roles are what processes do, not persons: a web application that only sends tasks is a ``producer``. The one who makes
topics beforehand is the ``creator``; then nobody else may, and runs with ``create_topics=False``. ``may-create`` is
what a worker needs besides when it shall make missing topics itself. Read, Write, Delete and Alter imply Describe.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # AclPermissionType is not in its annotations
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from ..names import Names
from ..options import Options

QUEUES = "<each queue's topic>"
TOPICS = "<prefix>*"
SOON = "<prefix>_soon"
LEVELS = "<prefix>_wait.*"
BROADCASTS = "<prefix>_x*"
BINDINGS = "<prefix>_bindings"
POISON = "<prefix>_poison"
GROUPS = "<group_id>.*"
MOVERS = "<prefix>_delays"

_GROUPS = (GROUPS, MOVERS)


@dataclass(frozen=True, slots=True)
class Grant:
    """Operations on a resource that a role cannot do without."""

    role: str
    resource: str
    operations: tuple[str, ...]
    needed_for: str

    @property
    def kind(self) -> str:
        """``topic`` or ``group``."""
        return "group" if self.resource in _GROUPS else "topic"


GRANTS: tuple[Grant, ...] = (
    Grant("producer", QUEUES, ("Write",), "sending tasks; Write is also what the idempotent producer needs"),
    Grant("producer", SOON, ("Write",), "ETA, countdown and retries due within 10 s"),
    Grant("producer", LEVELS, ("Write",), "ETA, countdown and retries due later"),
    Grant("producer", BINDINGS, ("Read",), "finding the queues of an exchange"),
    Grant("producer", BROADCASTS, ("Read", "Write"), "remote control with its replies, events, rpc://"),
    Grant("worker", QUEUES, ("Read", "Write"), "consuming; retries and chains are sent"),
    Grant("worker", GROUPS, ("Read",), "joining each queue's group, and committing"),
    Grant("worker", SOON, ("Read", "Write", "Delete"), "moving delayed messages; Delete frees what moved"),
    Grant("worker", LEVELS, ("Read", "Write", "Delete"), "the same for long delays"),
    Grant("worker", MOVERS, ("Read",), "the movers' group"),
    Grant("worker", BINDINGS, ("Read", "Write"), "declaring exchanges and bindings"),
    Grant("worker", BROADCASTS, ("Read", "Write"), "remote control, events, broadcast queues"),
    Grant("worker", POISON, ("Write",), "keeping what is rejected or unreadable"),
    Grant("may-create", TOPICS, ("Create",), "making missing topics (create_topics=True)"),
    Grant("operator", TOPICS, ("DescribeConfigs", "Read"), "lag, age of the oldest, peeking, events"),
    Grant("operator", BROADCASTS, ("Write",), "inspect and control: the question is a message"),
    Grant("operator", BINDINGS, ("Write",), "declaring the exchange of answers, if it is the first to ask"),
    Grant("operator", GROUPS, ("Describe",), "lag and owners"),
    Grant("operator", MOVERS, ("Describe",), "delayed messages"),
    Grant("creator", TOPICS, ("Alter", "Create"), "making topics, and letting them grow"),
    Grant("creator", BINDINGS, ("Read",), "nothing is written when all is there"),
)


def acls(role: str, user: str, options: Options, queues: Collection[str]) -> list[AclBinding]:
    """Return the ACLs of a role, for a user (``User:ann``, or ``ann``) and an application with these options."""
    principal = user if ":" in user else f"User:{user}"
    return [
        AclBinding(
            ResourceType.GROUP if grant.kind == "group" else ResourceType.TOPIC,
            name,
            pattern,
            principal,
            "*",
            AclOperation[_OPERATIONS[operation]],
            AclPermissionType.ALLOW,
        )
        for grant in GRANTS
        if grant.role == role
        for name, pattern in _resources(grant.resource, options, queues)
        for operation in grant.operations
    ]


def table() -> str:
    """Return the document's table, in Markdown."""
    lines = ["| role | resource | operations | needed for |", "| --- | --- | --- | --- |"]
    for grant in GRANTS:
        operations = ", ".join(grant.operations)
        lines.append(f"| {grant.role} | {grant.kind} `{grant.resource}` | {operations} | {grant.needed_for} |")
    return "\n".join(lines) + "\n"


_OPERATIONS = {
    "Alter": "ALTER",
    "Create": "CREATE",
    "Delete": "DELETE",
    "Describe": "DESCRIBE",
    "DescribeConfigs": "DESCRIBE_CONFIGS",
    "Read": "READ",
    "Write": "WRITE",
}


def _resources(resource: str, options: Options, queues: Collection[str]) -> list[tuple[str, ResourcePatternType]]:
    names, prefix = Names(options.topic_prefix), options.topic_prefix
    prefixed = {
        TOPICS: prefix,
        LEVELS: f"{prefix}_wait.",
        BROADCASTS: names.broadcast(""),
        GROUPS: f"{options.group_id}.",
    }
    if resource in prefixed:
        # A prefix of nothing is no prefix to Kafka; "*" is its word for everything.
        whole = prefixed[resource]
        return [(whole, ResourcePatternType.PREFIXED) if whole else ("*", ResourcePatternType.LITERAL)]
    if resource == QUEUES:
        return [(names.queue(queue), ResourcePatternType.LITERAL) for queue in queues]
    literal = {
        SOON: names.soon(),
        BINDINGS: names.bindings(),
        POISON: options.poison_topic,
        MOVERS: names.mover_group(),
    }
    return [(literal[resource], ResourcePatternType.LITERAL)]
