"""Guards against slow and broken tools: limits, breakers, held work, calls that outlive their batch."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

BREAKERS = "service/tools/breakers.py"
HOLDS = "service/persistence/statements/holds.py"
TEST_BREAKERS = "tests/integration/tools/test_breakers.py"
TEST_HOLDS = "tests/integration/engine/test_holds.py"

MUTATIONS = (
    Mutation(
        "a tool's limit holds",
        "service/tools/limits.py",
        ("        if not all(count.free() for count in counts):\n            return False\n"),
        "",
        "tests/unit/tools/test_limits.py",
    ),
    Mutation(
        "an open breaker holds calls back",
        "service/tools/admission.py",
        "if allowance.left < 1:",
        "if False:",
        "tests/unit/tools/test_admission.py",
    ),
    Mutation(
        "one probe goes out in the whole fleet",
        BREAKERS,
        "nx=True, ",
        "",
        f"{TEST_BREAKERS}::test_one_probe_goes_out_in_the_whole_fleet_and_its_success_closes_the_breaker",
    ),
    Mutation(
        "without Redis calls go on",
        BREAKERS,
        "except RedisError as error:",
        "except ZeroDivisionError as error:",
        f"{TEST_BREAKERS}::test_without_redis_calls_go_on_and_nobody_waits_for_it",
    ),
    Mutation(
        "held work is not ready before it is due",
        HOLDS,
        "false, retry_at, pause_id FROM moved",
        "true, retry_at, pause_id FROM moved",
        f"{TEST_HOLDS}::test_a_held_exception_waits_in_the_outbox_with_its_reason",
    ),
    Mutation(
        "held work is made ready when it is due",
        HOLDS,
        "WHERE due_at <= now()",
        "WHERE due_at <= now() - interval '1 day'",
        f"{TEST_HOLDS}::test_the_reconciler_leaves_held_work_alone_and_what_is_due_is_made_ready",
    ),
    Mutation(
        "the reconciler leaves held work alone",
        "service/persistence/statements/reconciliation.py",
        "AND (o.exception_id IS NULL OR (NOT o.ready AND o.due_at IS NULL AND o.pause_id IS NULL))",
        "AND (o.exception_id IS NULL OR NOT o.ready)",
        f"{TEST_HOLDS}::test_the_reconciler_leaves_held_work_alone_and_what_is_due_is_made_ready",
    ),
    Mutation(
        "no result is lost when calls are handed over",
        "service/engine/departures.py",
        ("            self._mailbox = mailbox\n            return"),
        "            return",
        "tests/unit/engine/test_landing.py",
    ),
    Mutation(
        "a batch does not wait for a slow call",
        "service/engine/tool_stage.py",
        ("except Empty:\n            self._hand_over()"),
        ("except Empty:\n            pass"),
        "tests/integration/test_slow_tools.py::test_a_hanging_tool_holds_up_only_its_own_tenant",
    ),
    Mutation(
        "a busy worker does not take its tools for slow",
        "service/engine/tool_stage.py",
        "        self._heard_at = self._clock()\n        self._started_at += self._heard_at - heard_at\n",
        "        self._heard_at = heard_at\n",
        "tests/unit/engine/test_tool_stage_patience.py",
    ),
)
