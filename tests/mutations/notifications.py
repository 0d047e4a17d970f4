"""Guards of notifications: sent once, repeated only if recognisable, and never more than everybody may see."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

_SQL = "service/persistence/statements/notifications.py"
_NOTIFIER = "service/engine/notifier.py"
_NOTICES = "service/domain/packs/deciding/notices.py"
_SENDING = "tests/integration/notifications"
_TELLING = "tests/unit/domain/test_notices.py"

MUTATIONS = (
    Mutation(
        "of two messages about a row one is taken",
        _SQL,
        "WHERE n.claim = r.claim AND n.state IN ('intent', 'sent')",
        "WHERE n.state IN ('intent', 'sent', 'confirmed')",
        _SENDING,
    ),
    Mutation(
        "an answer of an overtaken sender is dropped",
        _SQL,
        " AND n.claim = s.claim\n",
        "\n",
        _SENDING,
    ),
    Mutation(
        "an e-mail in doubt is not repeated",
        _NOTIFIER,
        'if one.on_its_way and one.params.get("idempotent") is not True:',
        "if False:",
        _SENDING,
    ),
    Mutation(
        "what was handed out is not handed out at once again",
        _SQL,
        "make_interval(secs => %(seconds)s)",
        "make_interval(secs => 0 * %(seconds)s)",
        _SENDING,
    ),
    Mutation(
        "texts are rendered from the masked view",
        _NOTICES,
        "self._redactor.redact(self.record.raw_payload).view",
        "self.record.raw_payload",
        _TELLING,
    ),
    Mutation(
        "only steps for people are told of",
        _NOTICES,
        "return event.type is not EventType.STEP_EXECUTION_REQUESTED or",
        "return True or",
        _TELLING,
    ),
    Mutation(
        "dead letters of deciding stages are told",
        "service/engine/runner.py",
        "told = of_failures(self._stage, self._failures, self._subjects)",
        "told = []",
        _SENDING,
    ),
    Mutation(
        "dead letters of used-up attempts are told",
        "service/engine/runner.py",
        "told = of_failures(stage, failures, subjects)",
        "told = []",
        _SENDING,
    ),
    Mutation(
        "dead letters of the tool stage are told",
        "service/engine/turns.py",
        "told = of_failures(Stage.TOOL, failures, subjects)",
        "told = []",
        _SENDING,
    ),
    Mutation(
        "an end at the tool stage is told",
        "service/engine/course.py",
        'decision["notices"] = told',
        "pass",
        _SENDING,
    ),
    Mutation(
        "tries end",
        _NOTIFIER,
        "case Answer.TRANSIENT if one.attempts <= call.call.max_retries:",
        "case Answer.TRANSIENT:",
        _SENDING,
    ),
    Mutation(
        "the same key on every attempt",
        "service/domain/identifiers.py",
        'f"notification:{position}:{policy}"',
        'f"notification:{position}:{policy}:{object()}"',
        _SENDING,
    ),
    Mutation(
        "an e-mail without an address is not sent",
        _NOTICES,
        "if key in _ADDRESSES and missing:",
        "if False:",
        _TELLING,
    ),
)
