"""Guards of dead letters: one cause is one cluster, the fence is shown, the audit sees what differs."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

_SIGNATURES = "tests/unit/domain/test_signatures.py"
_READING = "tests/integration/api/test_dead_letters.py"
_AUDIT = "tests/integration/relay/test_audit.py"

MUTATIONS = (
    Mutation(
        "a signature is of the message, too",
        "service/domain/signatures.py",
        'parts = "\\x1f".join((stage, error_class, message_pattern, tool or ""))',
        'parts = "\\x1f".join((stage, error_class, tool or ""))',
        _SIGNATURES,
    ),
    Mutation(
        "what differs between exceptions is not in a pattern",
        "service/domain/signatures.py",
        'return text if not name or text in kept else f"<{name}>"',
        "return text",
        _SIGNATURES,
    ),
    Mutation(
        "an HTTP status tells causes apart",
        "service/domain/signatures.py",
        r'("", r"\b(?:answered|status|HTTP) \d{3}\b"),',
        "",
        _SIGNATURES,
    ),
    Mutation(
        "an input that waits behind a dead letter is marked",
        "service/api/presenting.py",
        "fence if fence is not None and row.sequence > fence.sequence else None",
        "None",
        "tests/integration/api/test_fence_shown.py",
    ),
    Mutation(
        "an input that fails again is pending again",
        "service/persistence/statements/failing.py",
        "SET state = 'pending', settled_at = NULL, position = excluded.position",
        "SET position = excluded.position",
        _READING,
    ),
    Mutation(
        "the audit sees a record that is missing",
        "service/relay/audit.py",
        "return Difference.MISSING_ON_TOPIC",
        "return None",
        _AUDIT,
    ),
    Mutation(
        "the audit sees a row that is missing",
        "service/relay/agreement.py",
        "return Difference.MISSING_IN_TABLE",
        "return None",
        "tests/unit/relay/test_agreement.py",
    ),
    Mutation(
        "the audit leaves what is ahead of the cursor to the next one",
        "service/relay/audit.py",
        "ahead.get(number, span.high)",
        "span.high",
        _AUDIT,
    ),
)
