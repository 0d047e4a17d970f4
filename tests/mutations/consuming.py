"""Guards of the transport's consumers: offsets, rebalances, pauses, what an ending worker leaves."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

OFFSETS = "service/transport/consuming/offsets.py"
ASSIGNMENTS = "service/transport/consuming/assignments.py"
CONSUMER = "service/transport/consuming/consumer.py"
TEST_OFFSETS = "tests/unit/transport/test_offsets.py"
TEST_KAFKA_LONG_TASKS = "tests/integration/transport/test_kafka_long_tasks.py"
TEST_KAFKA_RECOVERY = "tests/integration/transport/test_kafka_recovery.py"

MUTATIONS = (
    Mutation(
        "only what is finished is committed",
        OFFSETS,
        "return next(iter(self._unfinished), self._next)",
        "return self._next",
        TEST_OFFSETS,
    ),
    Mutation(
        "what finished behind a long task is not run again",
        OFFSETS,
        "_write(start, self._reached, spans))",
        "_write(start, self._reached, []))",
        TEST_KAFKA_LONG_TASKS,
    ),
    Mutation(
        "late acknowledgements are fenced",
        ASSIGNMENTS,
        "return self._live and self._ledger.finish(offset)",
        "return self._ledger.finish(offset)",
        TEST_OFFSETS,
    ),
    Mutation(
        "a failed commit is sent again",
        ASSIGNMENTS,
        "            self._sent = None",
        "            pass",
        TEST_OFFSETS,
    ),
    Mutation(
        "one message of a key is out at a time",
        "service/transport/consuming/inbox.py",
        "return assignment, arrival.offset if key is None else key",
        "return assignment, arrival.offset",
        "tests/unit/transport/test_inbox.py",
    ),
    Mutation(
        "a full buffer pauses its queue",
        CONSUMER,
        "if congested or self._pauses:",
        "if False:",
        TEST_KAFKA_LONG_TASKS,
    ),
    Mutation(
        "a worker told to stop leaves nothing to do twice",
        CONSUMER,
        ("self._sink.leaving(going, 0.0)\n            self._commits.surely(consumer, going)\n"),
        "self._sink.leaving(going, 0.0)\n",
        TEST_KAFKA_RECOVERY,
    ),
    Mutation(
        "what a worker gives back is committed first",
        CONSUMER,
        "self._commits.surely(consumer, going)\n            self._drop(going)\n            self._cluster",
        "self._drop(going)\n            self._cluster",
        f"{TEST_KAFKA_RECOVERY}::test_the_new_protocol_works_where_the_broker_has_it",
    ),
    Mutation(
        "a process that ends leaves its groups",
        CONSUMER,
        "atexit.register(_leave_groups_at_exit)",
        "",
        TEST_KAFKA_RECOVERY,
    ),
    Mutation(
        "an expired message is not handed out",
        "service/transport/session.py",
        "if is_expired(raw, held.arrival.headers, time.time()):",
        "if False:",
        "tests/integration/transport/test_kafka_expiry.py",
    ),
    Mutation(
        "lag leaves out what finished behind a long task",
        "service/transport/consuming/tally.py",
        "finished += max(0, min(last, end - 1) - begin + 1)",
        "finished += 0",
        "tests/unit/transport/test_inspection.py",
    ),
)
