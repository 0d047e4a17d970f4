"""Guards of the life of packs: drafts, activations, backtests."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

PACK_LIFE = "service/engine/pack_life.py"
TEST_LIFE = "tests/integration/packs/test_life.py"

MUTATIONS = (
    Mutation(
        "what was received decides which version does",
        "service/engine/packs.py",
        "record.received_at if as_received else now",
        "now",
        f"{TEST_LIFE}::test_what_was_received_decides_which_side_of_an_instant_an_exception_is_on",
    ),
    Mutation(
        "a version whose tests fail needs a reason",
        PACK_LIFE,
        "if failed and how.force is None:",
        "if False:",
        f"{TEST_LIFE}::test_a_version_whose_tests_fail_needs_a_reason_and_the_history_keeps_it",
    ),
    Mutation(
        "a change made on an old version is not stored",
        PACK_LIFE,
        "if expected != (newest or 0):",
        "if False:",
        f"{TEST_LIFE}::test_a_change_made_on_an_old_version_is_not_stored",
    ),
    Mutation(
        "what is scheduled can be taken back",
        "service/persistence/statements/packs.py",
        "w.name = a.name AND w.withdraws = a.number)",
        "w.name = a.name AND false)",
        f"{TEST_LIFE}::test_what_is_scheduled_can_be_taken_back_until_it_comes",
    ),
    Mutation(
        "the history of activations is only added to",
        "migrations/versions/0006_pack_life.py",
        '"pack_activations": "SELECT, INSERT",',
        '"pack_activations": "SELECT, INSERT, UPDATE, DELETE",',
        f"{TEST_LIFE}::test_what_was_activated_and_what_a_version_says_cannot_be_changed",
    ),
    Mutation(
        "operators read packs and admins change them",
        "service/api/views/packs.py",
        ('now or from an instant on."""\n    caller = caller_with(Role.ADMIN)'),
        ('now or from an instant on."""\n    caller = caller_with(Role.OPERATOR)'),
        f"{TEST_LIFE}::test_operators_read_and_try_and_admins_change",
    ),
    Mutation(
        "a backtest waits for nobody",
        "service/persistence/statements/loading.py",
        '.replace("FOR UPDATE OF e", "")',
        "",
        "tests/integration/packs/test_backtest.py::test_a_backtest_waits_for_nobody_and_nobody_for_it",
    ),
)
