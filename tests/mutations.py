"""`make mutations`: takes one guard out at a time, in a copy of the tree, and expects its tests to fail.

A guard whose removal no test notices is a promise that nobody keeps. The last line counts them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.stack_fixture import services

PROJECT = Path(__file__).resolve().parents[1]
STACK = f"test-{os.getpid()}"

STAGES = "service/persistence/statements/stages.py"
DISPATCH = "service/persistence/statements/dispatch.py"
ENGINE = "tests/integration/engine"
FAIRNESS = "tests/integration/dispatch/test_fairness.py"
LANES = "tests/integration/dispatch/test_lanes.py"


@dataclass(frozen=True)
class Mutation:
    """A guard taken out: which words of which file become which, and the tests that must notice."""

    promise: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = (
    Mutation(
        "a delivery for another position is not applied",
        "service/domain/guard.py",
        "if delivered == actual:",
        "if delivered.sequence == actual.sequence:",
        "tests/unit/domain/test_sequence_guard.py",
    ),
    Mutation(
        "a zombie cannot write, whatever it decided",
        STAGES,
        "AND CASE WHEN e.sequence = d.sequence AND e.stage = %(stage)s",
        "AND CASE WHEN true",
        ENGINE,
    ),
    Mutation(
        "a dead letter fences its exception",
        "service/persistence/ingestion.py",
        "return self.stage == FINISHED",
        "return True",
        ENGINE,
    ),
    Mutation(
        "the next input becomes ready when its predecessor is finished",
        "service/persistence/stages.py",
        "if m.last_sequence > m.sequence]",
        "if m.last_sequence < m.sequence]",
        ENGINE,
    ),
    Mutation(
        "one bad exception does not hold up its batch",
        "service/engine/runner.py",
        "self._failures.append(Failure(reference, error))",
        "raise",
        ENGINE,
    ),
    Mutation(
        "what was lost is found again",
        DISPATCH,
        "WHERE e.status IN ('RECEIVED', 'IN_PROGRESS') AND e.stage < 5",
        "WHERE false",
        ENGINE,
    ),
    Mutation(
        "what is about to move is left alone",
        DISPATCH,
        "AND GREATEST(e.updated_at, e.retry_at) < %(now)s - make_interval(secs => %(after)s)",
        "",
        ENGINE,
    ),
    Mutation(
        "tenants take turns",
        DISPATCH,
        "ORDER BY first.place, t.tenant_id",
        "ORDER BY t.tenant_id, first.place",
        FAIRNESS,
    ),
    Mutation(
        "work whose predecessor is not finished stays",
        DISPATCH,
        " AND o.ready",
        "",
        FAIRNESS,
    ),
    Mutation(
        "dispatchers share the lanes",
        DISPATCH,
        "FROM dispatchers WHERE seen_until > now()",
        "FROM (SELECT 1) AS alone",
        LANES,
    ),
    Mutation(
        "a dead dispatcher's lanes are taken over",
        DISPATCH,
        "WHERE leased_until IS NULL OR leased_until <= now()",
        "WHERE leased_until IS NULL",
        LANES,
    ),
    Mutation(
        "an effect in doubt is not repeated",
        "service/engine/effect_ledger.py",
        "Permission.SEND if call.idempotent else Permission.UNKNOWN",
        "Permission.SEND",
        "tests/unit/engine/test_effect_ledger.py",
    ),
    Mutation(
        "a call under way is not made twice",
        "service/engine/effect_ledger.py",
        "if effect.lease_until is not None and effect.lease_until > now:",
        "if False:",
        "tests/unit/engine/test_effect_ledger.py",
    ),
    Mutation(
        "only what is finished is committed",
        "service/transport/consuming/offsets.py",
        "return next(iter(self._unfinished), self._next)",
        "return self._next",
        "tests/unit/transport/test_offsets.py",
    ),
    Mutation(
        "what finished behind a long task is not run again",
        "service/transport/consuming/offsets.py",
        "_write(start, self._reached, spans))",
        "_write(start, self._reached, []))",
        "tests/integration/transport/test_kafka_long_tasks.py",
    ),
    Mutation(
        "late acknowledgements are fenced",
        "service/transport/consuming/assignments.py",
        "return self._live and self._ledger.finish(offset)",
        "return self._ledger.finish(offset)",
        "tests/unit/transport/test_offsets.py",
    ),
    Mutation(
        "a failed commit is sent again",
        "service/transport/consuming/assignments.py",
        "            self._sent = None",
        "            pass",
        "tests/unit/transport/test_offsets.py",
    ),
    Mutation(
        "one message of a key is out at a time",
        "service/transport/consuming/inbox.py",
        "return assignment, arrival.offset if key is None else key",
        "return assignment, arrival.offset",
        "tests/unit/transport/test_inbox.py",
    ),
    Mutation(
        "every worker has a share of every queue",
        "service/transport/names.py",
        'return f"{group_id}.{topic}"',
        "return group_id",
        "tests/integration/transport/test_kafka_consumers.py",
    ),
    Mutation(
        "a full buffer pauses its queue",
        "service/transport/consuming/consumer.py",
        "if congested or self._pauses:",
        "if False:",
        "tests/integration/transport/test_kafka_long_tasks.py",
    ),
    Mutation(
        "a worker told to stop leaves nothing to do twice",
        "service/transport/consuming/consumer.py",
        "self._commits.surely(consumer, going)",
        "pass",
        "tests/integration/transport/test_kafka_recovery.py",
    ),
    Mutation(
        "a process that ends leaves its groups",
        "service/transport/consuming/consumer.py",
        "atexit.register(_leave_groups_at_exit)",
        "",
        "tests/integration/transport/test_kafka_recovery.py",
    ),
    Mutation(
        "a worker slot keeps its partitions over a restart",
        "service/transport/options.py",
        '**({"group.instance.id": self.instance_id} if self.instance_id else {}),',
        "",
        "tests/integration/transport/test_kafka_recovery.py",
    ),
    Mutation(
        "a copy of the bindings is checked when it is too old",
        "service/transport/bindings/shared.py",
        "if now - self._checked <= max_age or (",
        "if self._checked > 0 or (",
        "tests/unit/transport/test_shared_bindings.py",
    ),
    Mutation(
        "a bindings topic made anew is read anew",
        "service/transport/bindings/shared.py",
        "anew = replaced or extent.end",
        "anew = extent.end",
        "tests/unit/transport/test_shared_bindings.py",
    ),
    Mutation(
        "nothing is called unroutable by an old copy",
        "service/transport/channels/routing.py",
        "        cluster.bindings.check()\n",
        "",
        "tests/integration/transport/test_kafka_bindings.py",
    ),
    Mutation(
        "a task for a missing queue is not told to everybody",
        "service/transport/channels/routing.py",
        "            if not nature.reply:\n                return []\n",
        "",
        "tests/integration/transport/test_kafka_connection.py",
    ),
    Mutation(
        "an expired message is not handed out",
        "service/transport/session.py",
        "if is_expired(raw, held.arrival.headers, time.time()):",
        "if False:",
        "tests/integration/transport/test_kafka_expiry.py",
    ),
    Mutation(
        "a closed channel's messages come back",
        "service/transport/channels/channel.py",
        "            self.qos.restore_unacked()\n        super().close()",
        "        super().close()",
        "tests/integration/transport/test_kafka_exchanges.py",
    ),
    Mutation(
        "a delayed message is not early",
        "service/transport/delays/route.py",
        "if left <= self._threshold:",
        "if left <= self._threshold + 1:",
        "tests/unit/transport/test_delays.py",
    ),
    Mutation(
        "a delayed message counts as moved when its copy is confirmed",
        "service/transport/delays/forwarding.py",
        "self._failed.append((waiting, delivery.topic, delivery.error))",
        "pass",
        "tests/unit/transport/test_mover.py",
    ),
    Mutation(
        "one queue without a leader holds up no other",
        "service/transport/delays/forwarding.py",
        "return way is not None and way.open > 0 and now - way.moved > _AILS_AFTER",
        "return False",
        "tests/unit/transport/test_mover.py",
    ),
    Mutation(
        "what is due next is not behind what is due later",
        "service/transport/delays/route.py",
        "return Step(self._soon, number * self._width, number)",
        "return Step(self._soon, 0.0, 0)",
        "tests/unit/transport/test_mover.py",
    ),
    Mutation(
        "delay topics are trimmed of what was moved only",
        "service/transport/delays/trimming.py",
        "part.committed)",
        "part.committed + 1)",
        "tests/unit/transport/test_mover.py",
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
        "lag leaves out what finished behind a long task",
        "service/transport/consuming/tally.py",
        "finished += max(0, min(last, end - 1) - begin + 1)",
        "finished += 0",
        "tests/unit/transport/test_inspection.py",
    ),
    Mutation(
        "no position moves under a worker",
        "service/transport/operations/moving.py",
        "    _refuse_if_active(queue, members)\n",
        "",
        "tests/integration/transport/test_kafka_operations.py",
    ),
    Mutation(
        "tools are not called on private addresses",
        "service/tools/egress.py",
        "return address.is_global and not address.is_multicast",
        "return True",
        "tests/unit/tools/test_egress.py",
    ),
    Mutation(
        "a full lane lets work gather",
        "service/dispatch/window.py",
        "return max(0, self.limit - len(self._until))",
        "return self.limit",
        "tests/unit/dispatch/test_window.py",
    ),
    Mutation(
        "imports point one way",
        "service/domain/guard.py",
        "from enum import Enum",
        "from enum import Enum\n\nimport service.persistence  # noqa: F401",
        "tests/unit/test_imports.py",
    ),
)


def main() -> int:
    """Run every mutation whose promise contains the words on the command line; the number that survived."""
    wanted = " ".join(sys.argv[1:])
    chosen = [mutation for mutation in MUTATIONS if wanted in mutation.promise]
    survived = 0
    with services(STACK) as instance, tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **instance.environment()}
        for mutation in chosen:
            noticed = is_noticed(mutation, Path(folder) / "tree", environment)
            survived += not noticed
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutation.promise}", flush=True)
    print(f"{len(chosen)} guards taken out, {len(chosen) - survived} noticed, {survived} survived")
    return survived


def is_noticed(mutation: Mutation, tree: Path, environment: dict[str, str]) -> bool:
    """Whether the tests fail on a tree without the guard. Refuses a mutation that changes nothing."""
    shutil.rmtree(tree, ignore_errors=True)
    ignored = shutil.ignore_patterns(".git", ".venv", ".stack", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(PROJECT, tree, ignore=ignored)
    file = tree / mutation.file
    text = file.read_text("utf-8")
    assert text.count(mutation.old) >= 1, f"{mutation.file} no longer says {mutation.old!r}; correct this list"
    file.write_text(text.replace(mutation.old, mutation.new), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutation.tests.split()]
    done = subprocess.run(
        command, cwd=tree, env={**environment, "PYTHONPATH": str(tree)}, capture_output=True, check=False
    )
    return done.returncode == 1


if __name__ == "__main__":
    sys.exit(main())
