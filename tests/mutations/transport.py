"""Guards of the transport beside its consumers: names, bindings, publishing, delays, operations."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

SHARED = "service/transport/bindings/shared.py"
ROUTING = "service/transport/channels/routing.py"
ROUTE = "service/transport/delays/route.py"
FORWARDING = "service/transport/delays/forwarding.py"
TEST_SHARED_BINDINGS = "tests/unit/transport/test_shared_bindings.py"
TEST_MOVER = "tests/unit/transport/test_mover.py"

MUTATIONS = (
    Mutation(
        "every worker has a share of every queue",
        "service/transport/names.py",
        'return f"{group_id}.{topic}"',
        "return group_id",
        "tests/integration/transport/test_kafka_consumers.py",
    ),
    Mutation(
        "a worker slot keeps its partitions over a restart",
        "service/transport/options.py",
        '**({"group.instance.id": self.instance_id} if self.instance_id else {}),',
        "",
        "tests/integration/transport/test_kafka_recovery.py",
    ),
    Mutation(
        "a worker that is told to stop hears first what its pool has begun",
        "service/transport/stopping.py",
        "while any(_unheard(pool)) and time.monotonic() < deadline:",
        "while False:",
        "tests/integration/transport/test_kafka_celery.py",
    ),
    Mutation(
        "a copy of the bindings is checked when it is too old",
        SHARED,
        "if now - self._checked <= max_age or (",
        "if self._checked > 0 or (",
        TEST_SHARED_BINDINGS,
    ),
    Mutation(
        "a bindings topic made anew is read anew",
        SHARED,
        "anew = replaced or extent.end",
        "anew = extent.end",
        TEST_SHARED_BINDINGS,
    ),
    Mutation(
        "nothing is called unroutable by an old copy",
        ROUTING,
        "        cluster.bindings.check()\n",
        "",
        "tests/integration/transport/test_kafka_bindings.py",
    ),
    Mutation(
        "a task for a missing queue is not told to everybody",
        ROUTING,
        ("            if not nature.reply:\n                return []\n"),
        "",
        "tests/integration/transport/test_kafka_connection.py",
    ),
    Mutation(
        "a closed channel's messages come back",
        "service/transport/channels/channel.py",
        ("            self.qos.restore_unacked()\n        super().close()"),
        "        super().close()",
        "tests/integration/transport/test_kafka_exchanges.py",
    ),
    Mutation(
        "a delayed message is not early",
        ROUTE,
        "if left <= self._threshold:",
        "if left <= self._threshold + 1:",
        "tests/unit/transport/test_delays.py",
    ),
    Mutation(
        "a delayed message counts as moved when its copy is confirmed",
        FORWARDING,
        "self._failed.append((waiting, delivery.topic, delivery.error))",
        "pass",
        TEST_MOVER,
    ),
    Mutation(
        "one queue without a leader holds up no other",
        FORWARDING,
        "return way is not None and way.open > 0 and now - way.moved > _AILS_AFTER",
        "return False",
        TEST_MOVER,
    ),
    Mutation(
        "what is due next is not behind what is due later",
        ROUTE,
        "return Step(self._soon, number * self._width, number)",
        "return Step(self._soon, 0.0, 0)",
        TEST_MOVER,
    ),
    Mutation(
        "delay topics are trimmed of what was moved only",
        "service/transport/delays/trimming.py",
        "part.committed)",
        "part.committed + 1)",
        TEST_MOVER,
    ),
    Mutation(
        "leaving a batch means stored",
        "service/transport/channels/batches.py",
        "cluster.publisher.wait([send(cluster, topic, record, message) for topic, record, message in ready])",
        "[send(cluster, topic, record, message) for topic, record, message in ready]",
        "tests/integration/transport/test_kafka_batches.py",
    ),
    Mutation(
        "late failures spare the new producer",
        "service/transport/publishing.py",
        "if self._producer is not producer:",
        "if False:",
        "tests/unit/transport/test_publishing.py",
    ),
    Mutation(
        "an offset of -1001 is no offset",
        "service/transport/topics.py",
        "            lambda answer: answer.offset >= 0,\n",
        "",
        "tests/unit/transport/test_topics.py",
    ),
    Mutation(
        "green threads are refused",
        "service/transport/transport.py",
        "        refuse_green_threads()\n",
        "",
        "tests/unit/transport/test_green_threads.py",
    ),
    Mutation(
        "an error says what to check once",
        "service/transport/errors.py",
        "return cause if is_advised(cause) else",
        "return",
        "tests/unit/transport/test_diagnosis.py",
    ),
    Mutation(
        "no position moves under a worker",
        "service/transport/operations/moving.py",
        "    _refuse_if_active(queue, members)\n",
        "",
        "tests/integration/transport/test_kafka_operations.py",
    ),
)
