"""Guards of retries and outages: what is counted, what waits how long, and that nobody pays for an outage."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

RETRIES = "service/domain/retries.py"
RULES = "service/domain/packs/retry_rules.py"
STAGE = "tasks/stage.py"
OUTAGES = "service/persistence/outages.py"
TEST_POLICIES = "tests/unit/domain/test_retries.py"
TEST_RULES = "tests/unit/domain/test_retry_rules.py"
TEST_ENGINE = "tests/integration/engine/test_retries.py"
TEST_BREAKER = "tests/unit/persistence/test_outages.py"
TEST_ERRORS = "tests/integration/engine/test_outages.py"
TEST_BROKER = "tests/celery_kafka/test_outages.py"

MUTATIONS = (
    Mutation(
        "Retry-After is kept",
        RETRIES,
        "return Wait(named + backoff,",
        "return Wait(backoff,",
        TEST_POLICIES,
    ),
    Mutation(
        "a huge Retry-After is cut",
        RETRIES,
        "named = min(asked_seconds, policy.max_retry_after_seconds)",
        "named = asked_seconds",
        TEST_POLICIES,
    ),
    Mutation(
        "a backoff is jittered",
        RETRIES,
        "return min(self.max_backoff_seconds, ceiling) * jitter",
        "return min(self.max_backoff_seconds, ceiling)",
        TEST_POLICIES,
    ),
    Mutation(
        "a backoff has a cap",
        RETRIES,
        "return min(self.max_backoff_seconds, ceiling) * jitter",
        "return ceiling * jitter",
        TEST_POLICIES,
    ),
    Mutation(
        "rate limits are counted apart",
        RETRIES,
        "return self.rate_limited if kind is ErrorKind.RATE_LIMITED else self.failed - self.rate_limited",
        "return self.failed",
        TEST_POLICIES,
    ),
    Mutation(
        "tries have an end",
        RETRIES,
        "return self.of_kind(kind) >= policy.max_retries",
        "return False",
        TEST_POLICIES,
    ),
    Mutation(
        "the tenant's retry policies stand above the domain's",
        RULES,
        "domain.of(stage), tenant.of(stage))",
        "tenant.of(stage), domain.of(stage))",
        TEST_RULES,
    ),
    Mutation(
        "a tool's own retries stand above its packs'",
        RULES,
        "overridden(by_stage[Stage.TOOL], rules)",
        "by_stage[Stage.TOOL]",
        TEST_RULES,
    ),
    Mutation(
        "503 with Retry-After is a rate limit",
        "service/tools/answers.py",
        "or (reply.status == _UNAVAILABLE and after is not None)",
        "",
        TEST_ENGINE,
    ),
    Mutation(
        "of several calls the latest time named counts",
        "service/engine/course.py",
        "due = max(self.retry.due_in_seconds or 0.0, self.not_before_seconds)",
        "due = self.retry.due_in_seconds or 0.0",
        TEST_ENGINE,
    ),
    Mutation(
        "nobody asks a server that is away",
        OUTAGES,
        "if now < self._look_at:",
        "if False:",
        TEST_BREAKER,
    ),
    Mutation(
        "one look at a time",
        OUTAGES,
        "            self._look_at = now + LOOK_SECONDS\n",
        "",
        TEST_BREAKER,
    ),
    Mutation(
        "a deadlock opens no breaker",
        OUTAGES,
        "        except DatabaseUnavailableError as error:\n            self._failed(error.cause)",
        "        except InfrastructureUnavailableError as error:\n            self._failed(str(error))",
        TEST_BREAKER,
    ),
    Mutation(
        "a full disk is an outage",
        "service/persistence/sqlstates.py",
        '    "53",  # disk full, out of memory, too many connections\n',
        "",
        TEST_ERRORS,
    ),
    Mutation(
        "a replica is left for the server that writes",
        "service/persistence/unit_of_work.py",
        "connection.invalidate()",
        "pass",
        TEST_ERRORS,
    ),
    Mutation(
        "an outage is nobody's attempt",
        STAGE,
        "if isinstance(exc, AttemptFailedError):",
        "if isinstance(exc, InfrastructureUnavailableError):\n"
        "            lone = from_message(self.request.args[0]).references[0]\n"
        "            args = (to_message(Batch.single(next_attempt(Retry(lone, exc)))),)\n"
        "        if isinstance(exc, AttemptFailedError):",
        f"{TEST_BROKER}::test_without_postgresql_a_delivery_comes_back_soon_and_as_it_was",
    ),
    Mutation(
        "after an outage work comes back soon",
        STAGE,
        'options["countdown"] = wait_for_postgresql()',
        "pass",
        f"{TEST_BROKER}::test_without_postgresql_a_delivery_comes_back_soon_and_as_it_was",
    ),
    Mutation(
        "a link that Kafka does not take is not lost",
        "tasks/outages.py",
        "requeue=True",
        "requeue=False",
        f"{TEST_BROKER}::test_a_link_that_kafka_does_not_take_is_sent_when_it_does",
    ),
    Mutation(
        "a retry that Kafka does not take is not lost",
        STAGE,
        "            raise hand_back(rejected) from rejected",
        "            raise",
        f"{TEST_BROKER}::test_a_retry_that_kafka_does_not_take_is_scheduled_when_it_does",
    ),
    Mutation(
        "a waiting retry waits outside of the worker",
        "celeryconfig.py",
        '    "unroutable": "raise",',
        '    "unroutable": "raise",\n    "delays": False,',
        f"{TEST_BROKER}::test_a_waiting_retry_holds_no_slot_and_no_credit_and_survives_its_worker",
    ),
    Mutation(
        "answers that came in an outage are kept",
        "service/engine/tool_stage.py",
        "            self._save_answers()\n",
        "",
        "tests/unit/engine/test_tool_stage_outages.py",
    ),
)
