"""Guards of the dispatcher: turns of tenants, lanes."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

DISPATCH = "service/persistence/statements/dispatch.py"
TEST_FAIRNESS = "tests/integration/dispatch/test_fairness.py"
TEST_LANES = "tests/integration/dispatch/test_lanes.py"

MUTATIONS = (
    Mutation(
        "tenants take turns",
        DISPATCH,
        "ORDER BY first.place, t.tenant_id",
        "ORDER BY t.tenant_id, first.place",
        TEST_FAIRNESS,
    ),
    Mutation(
        "work whose predecessor is not finished stays",
        DISPATCH,
        (
            " AND o.ready AND o.tenant_id = t.tenant_id\n"
            "            ORDER BY o.number LIMIT %(size)s) AS first\n"
            "     WHERE t.tenant_id IS NOT NULL AND t.tenant_id <> ALL(%(paused)s::text[])\n"
            "     ORDER BY first.place, t.tenant_id\n"
            "     LIMIT %(size)s\n"
            ")\n"
            "DELETE FROM outbox o USING chosen c\n"
            " WHERE o.exception_id = c.exception_id AND o.sequence = c.sequence AND o.ready\n"
        ),
        (
            " AND o.tenant_id = t.tenant_id\n"
            "            ORDER BY o.number LIMIT %(size)s) AS first\n"
            "     WHERE t.tenant_id IS NOT NULL AND t.tenant_id <> ALL(%(paused)s::text[])\n"
            "     ORDER BY first.place, t.tenant_id\n"
            "     LIMIT %(size)s\n"
            ")\n"
            "DELETE FROM outbox o USING chosen c\n"
            " WHERE o.exception_id = c.exception_id AND o.sequence = c.sequence\n"
        ),
        TEST_FAIRNESS,
    ),
    Mutation(
        "dispatchers share the lanes",
        DISPATCH,
        "FROM dispatchers WHERE seen_until > now()",
        "FROM (SELECT 1) AS alone",
        TEST_LANES,
    ),
    Mutation(
        "a dead dispatcher's lanes are taken over",
        DISPATCH,
        "WHERE leased_until IS NULL OR leased_until <= now()",
        "WHERE leased_until IS NULL",
        TEST_LANES,
    ),
    Mutation(
        "a full lane lets work gather",
        "service/dispatch/window.py",
        "return max(0, self.limit - len(self._until))",
        "return self.limit",
        "tests/unit/dispatch/test_window.py",
    ),
)
