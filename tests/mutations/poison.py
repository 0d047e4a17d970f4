"""Guards of poison isolation: recognised, divided, convicted with care; unworkable messages are kept."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

ISOLATION = "service/engine/isolation.py"
SUSPICION = "service/engine/suspicion.py"
REQUESTS = "tasks/requests.py"
TEST_ISOLATION = "tests/integration/engine/test_isolation.py"
TEST_SUSPICION = "tests/unit/engine/test_suspicion.py"
TEST_REQUESTS = "tests/unit/test_stage_requests.py"
TEST_LETTERS = "tests/integration/transport/test_kafka_dead_letters.py"

MUTATIONS = (
    Mutation(
        "a delivery that nobody ended is recognised when it comes again",
        "tasks/isolating.py",
        "    if earlier:\n",
        "    if False:\n",
        TEST_ISOLATION,
    ),
    Mutation(
        "what ended as it should is no suspect",
        "service/persistence/deliveries.py",
        'connection.exec_driver_sql(sql.END, {"slot": self._slot()})',
        "pass",
        TEST_ISOLATION,
    ),
    Mutation(
        "a batch that did not survive is divided",
        SUSPICION,
        "size = 1 if again or len(references) < SMALLEST_BATCH else math.ceil(math.sqrt(len(references)))",
        "size = len(references)",
        TEST_SUSPICION,
    ),
    Mutation(
        "two divisions lead to single exceptions",
        SUSPICION,
        "size = 1 if again or len",
        "size = 1 if len",
        TEST_SUSPICION,
    ),
    Mutation(
        "only what is still due is suspected",
        ISOLATION,
        "suspects = [reference for reference in batch.references if reference.exception_id in due]",
        "suspects = list(batch.references)",
        TEST_ISOLATION,
    ),
    Mutation(
        "kills from outside do not convict an innocent",
        SUSPICION,
        "return sum(ending.own for ending in alone) >= OWN_ENDS or len(alone) >= ALL_ENDS",
        "return len(alone) >= OWN_ENDS",
        TEST_SUSPICION,
    ),
    Mutation(
        "ends in company do not convict",
        SUSPICION,
        "for ending in self.endings if ending.together == 1",
        "for ending in self.endings",
        TEST_SUSPICION,
    ),
    Mutation(
        "a kill -9 is not taken for a crash",
        REQUESTS,
        '"own": not any(name in how for name in _FROM_OUTSIDE)',
        '"own": True',
        "tests/unit/test_ended_how.py",
    ),
    Mutation(
        "the end of a pool process is told to the next delivery",
        REQUESTS,
        "self.app.endings.note(self.id, ended)",
        "pass",
        TEST_REQUESTS,
    ),
    Mutation(
        "what hangs is delivered again",
        "tasks/stage.py",
        "acks_on_timeout = False",
        "acks_on_timeout = True",
        TEST_REQUESTS,
    ),
    Mutation(
        "a message that is no batch is not lost",
        "tasks/stage.py",
        "acks_on_failure = False",
        "acks_on_failure = True",
        TEST_REQUESTS,
    ),
    Mutation(
        "only calls of the process that died lose their lease",
        "service/persistence/statements/isolation.py",
        " AND sent_at >= %(began_at)s",
        "",
        TEST_ISOLATION,
    ),
    Mutation(
        "what had no answer is repeated alone",
        "service/engine/flights.py",
        "if judgement.unanswered and not course.alone:",
        "if False:",
        "tests/integration/engine/test_plans.py",
    ),
    Mutation(
        "a plug-in that may have ended its process is waited for",
        "service/engine/tool_stage.py",
        "if flight.unanswered and flight.call.kind in IN_PROCESS:",
        "if False:",
        "tests/unit/engine/test_tool_stage_patience.py",
    ),
    Mutation(
        "calls are noted before they may end their process",
        "service/engine/landing.py",
        "            self._write_down()\n            self._depart(flights, self._mailbox)\n",
        "            self._depart(flights, self._mailbox)\n            self._write_down()\n",
        "tests/unit/engine/test_landing.py",
    ),
    Mutation(
        "a process with sessions is not taken for dead",
        "service/persistence/statements/isolation.py",
        "        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = {session})",
        "",
        TEST_ISOLATION,
    ),
    Mutation(
        "what a dead process waited for is found",
        "service/persistence/reconciliation.py",
        "self._transaction.run(sql.ORPHANS, self._parameters)",
        "pass",
        "tests/integration/engine/test_reconciler.py",
    ),
    Mutation(
        "what is too large for the dead-letter topic does not stop its partition",
        "service/transport/deadletters.py",
        "refused = refused or refusal",
        "raise",
        TEST_LETTERS,
    ),
    Mutation(
        "an oversized message is not handed out",
        "service/transport/session.py",
        "if most and size > most:",
        "if False:",
        TEST_LETTERS,
    ),
)
