"""Each invariant can turn red: a made-up round in which all is well, and what becomes of it when one thing is not.

The database's tables are shadowed by temporary ones of the same columns, so that rows can be as wrong as they like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import Engine

from service.persistence.database import Role, open_engine
from service.persistence.models import TENANT_TABLES
from service.persistence.unit_of_work import Transaction, as_json, unit_of_work
from service.settings import load_settings
from tests.chaos.pipeline.answers import Accepted, AcceptedInput, Answers
from tests.chaos.pipeline.kinds import Kind, Said
from tests.chaos.pipeline.verdict import Invariant, Quiet, Seen, judge, names
from tests.integration.conftest import migrate
from tests.stack_fixture import StackUnderTest

pytestmark = pytest.mark.stack

ANN, BOB = "ann", "bob"
STRAIGHT, DEAD, ONCE = (f"00000000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))
KEY, OTHER_KEY = "00000000-0000-5000-8000-00000000000a", "00000000-0000-5000-8000-00000000000b"
THROUGH = (
    (0, "ExceptionIngested"),
    (0, "ExceptionNormalized"),
    (1, "TriageCompleted"),
    (2, "PolicyEvaluationCompleted"),
    (3, "PlaybookMatched"),
    (4, "ToolExecutionRequested"),
)
RESOLVED = (*THROUGH, (4, "ToolExecutionCompleted"), (4, "ExceptionResolved"))


@dataclass
class MadeUp:
    """A round that never was: rows, and what the outside saw."""

    transaction: Transaction
    answers: Answers = field(default_factory=Answers)
    calls: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    unbalanced: list[dict[str, Any]] = field(default_factory=list)
    quiet: Quiet = field(default_factory=lambda: Quiet(1.0))

    def insert(self, table: str, **values: Any) -> None:
        """A row; every other column is empty."""
        statement = f"INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, %(row)s::json)"
        self.transaction.run(statement, {"row": as_json(values)})

    def run(self, statement: str) -> None:
        """Spoil something. Each statement must hit."""
        assert self.transaction.run(statement) > 0

    def event(self, exception_id: str, tenant: str, position: int, sequence: int, stage: int, type_: str) -> None:
        """A line of the log."""
        self.insert(
            "events",
            exception_id=exception_id,
            tenant_id=tenant,
            position=position,
            sequence=sequence,
            stage=stage,
            type=type_,
            data={},
        )

    def exception(self, exception_id: str, tenant: str, kind: Kind, events: Any, **row: Any) -> None:
        """One that was accepted, with its log."""
        for position, (stage, type_) in enumerate(events, start=1):
            self.event(exception_id, tenant, position, 1, stage, type_)
        values = {"status": "RESOLVED", "sequence": 1, "last_sequence": 1, "stage": 5, "position": len(events), **row}
        payload = {"ref": exception_id}
        self.insert("exceptions", exception_id=exception_id, tenant_id=tenant, redacted_payload=payload, **values)
        self.answers.accept([Accepted(exception_id, tenant, kind, exception_id, 0.0)])

    def effect(self, key: str, exception_id: str, tenant: str, tool: str) -> None:
        """A call that happened once and was written down."""
        self.insert(
            "tool_executions",
            idempotency_key=key,
            exception_id=exception_id,
            tenant_id=tenant,
            tool=tool,
            state="confirmed",
        )
        self.calls.append({"key": key, "tool": tool, "tenant": tenant, "outcome": "worked"})

    def red(self) -> list[str]:
        """The invariants that are broken."""
        seen = Seen([ANN, BOB], self.answers, self.calls, self.records, self.unbalanced, self.quiet, 100.0)
        return names(judge(self.transaction, seen))


@pytest.fixture(scope="module")
def engine(stack: StackUnderTest) -> Iterator[Engine]:
    """The database as SYSTEM."""
    migrate(stack.environment)
    opened = open_engine(load_settings(stack.environment).database_url, Role.SYSTEM, pool_size=1)
    yield opened
    opened.dispose()


@pytest.fixture
def good(engine: Engine) -> Iterator[MadeUp]:
    """A round of three exceptions of two tenants: one resolved, one dead with a comment behind it, one of BOB's."""
    with pytest.raises(_Over), unit_of_work(engine) as transaction:
        for table in TENANT_TABLES:
            transaction.run(f"CREATE TEMP TABLE {table.name} ON COMMIT DROP AS TABLE public.{table.name} WITH NO DATA")
        made = MadeUp(transaction)
        for tenant in (ANN, BOB):
            tools = {"book": {"idempotent": False}, "repair": {"idempotent": True}}
            made.insert("packs", tenant_id=tenant, kind="domain", document={"tools": tools})
            made.insert("api_keys", tenant_id=tenant, name=f"desk of {tenant}")
        made.exception(STRAIGHT, ANN, Kind.STRAIGHT, RESOLVED)
        made.effect(KEY, STRAIGHT, ANN, "repair")
        dead = {"status": "DEAD_LETTERED", "stage": 4, "last_sequence": 2}
        made.exception(DEAD, ANN, Kind.PERMANENT, (*THROUGH, (4, "DeadLettered")), **dead)
        made.insert("dead_letters", exception_id=DEAD, tenant_id=ANN, sequence=1, position=7)
        made.records.append({"exception": DEAD, "tenant": ANN, "position": 7})
        made.event(DEAD, ANN, 8, 2, 0, "ExceptionUpdated")
        made.run(f"UPDATE exceptions SET position = 8 WHERE exception_id = '{DEAD}'")
        made.insert("inputs", exception_id=DEAD, tenant_id=ANN, sequence=2, type="comment", actor=f"desk of {ANN}")
        made.insert("outbox", exception_id=DEAD, tenant_id=ANN, sequence=2, ready=False)
        made.answers.accept_input(AcceptedInput(DEAD, 2, Said.COMMENT, 0.0))
        made.exception(ONCE, BOB, Kind.ONCE, RESOLVED)
        made.effect(OTHER_KEY, ONCE, BOB, "book")
        yield made
        raise _Over


class _Over(Exception):
    """Nothing of it is kept."""


def test_a_good_round_breaks_nothing(good: MadeUp) -> None:
    assert good.red() == []


Spoil = Callable[[MadeUp], object]


def _also(made: MadeUp, exception_id: str, *events: tuple[int, int, str]) -> None:
    """More lines of a log: sequence, stage, type; the row goes along."""
    (row,) = made.transaction.rows(
        "SELECT position, tenant_id FROM exceptions WHERE exception_id = %(id)s::uuid", {"id": exception_id}
    )
    for position, (sequence, stage, type_) in enumerate(events, start=row.position + 1):
        made.event(exception_id, row.tenant_id, position, sequence, stage, type_)
    last = max(sequence for sequence, _, _ in events)
    made.run(
        f"UPDATE exceptions SET position = position + {len(events)}, last_sequence = GREATEST(last_sequence, {last}),"
        f" sequence = CASE WHEN stage = 5 THEN GREATEST(sequence, {last}) ELSE sequence END"
        f" WHERE exception_id = '{exception_id}'"
    )


def _redriven(made: MadeUp) -> None:
    """The dead one is sent again from triage and fails again."""
    _also(made, DEAD, (1, 4, "Redriven"), (1, 1, "TriageCompleted"), (1, 4, "DeadLettered"))
    made.run("UPDATE dead_letters SET position = 11")
    made.records.append({"exception": DEAD, "tenant": ANN, "position": 11})


def _quiet(**changes: Any) -> Spoil:
    return lambda made: setattr(made, "quiet", replace(made.quiet, **changes))


def _row(exception_id: str, changes: str) -> Spoil:
    return lambda made: made.run(f"UPDATE exceptions SET {changes} WHERE exception_id = '{exception_id}'")


def _delete(what: str) -> Spoil:
    return lambda made: made.run(f"DELETE FROM {what}")


def _insert(table: str, **values: Any) -> Spoil:
    return lambda made: made.insert(table, **{"exception_id": STRAIGHT, "tenant_id": ANN, "sequence": 1, **values})


def _log(exception_id: str, *events: tuple[int, int, str]) -> Spoil:
    return lambda made: _also(made, exception_id, *events)


def _one_request_two_exceptions(made: MadeUp) -> None:
    made.run(
        f"UPDATE exceptions SET redacted_payload = (SELECT redacted_payload FROM exceptions LIMIT 1)"
        f" WHERE tenant_id = '{ANN}'"
    )


SPOILED: tuple[tuple[str, str, Spoil], ...] = (
    ("an exception is gone", "L1", _delete(f"exceptions WHERE exception_id = '{STRAIGHT}'")),
    ("one never came to rest", "L1", _row(STRAIGHT, "status = 'IN_PROGRESS', stage = 4")),
    ("one rests elsewhere", "L1", _row(STRAIGHT, "status = 'ESCALATED'")),
    ("one waits for a person without a reason", "L1", _row(ONCE, "status = 'PENDING_STEP'")),
    ("an input is gone", "L1", _delete("inputs")),
    ("a source was told it was wrong", "L1", lambda made: made.answers.refuse("404")),
    ("a stage was applied twice", "L2", _log(STRAIGHT, (1, 4, "ExceptionResolved"))),
    ("one request, two exceptions", "L2", _one_request_two_exceptions),
    ("an event is missing", "L3", _delete(f"events WHERE exception_id = '{STRAIGHT}' AND position = 6")),
    ("the stage went back", "L3", _log(STRAIGHT, (1, 3, "RetryScheduled"))),
    ("an input was worked behind a dead letter", "L3", _log(DEAD, (2, 0, "CommentAdded"))),
    (
        "an input was passed over",
        "L3",
        _log(STRAIGHT, (2, 0, "ExceptionUpdated"), (3, 0, "ExceptionUpdated"), (3, 0, "CommentAdded")),
    ),
    ("an effect happened twice", "L4", lambda made: made.calls.append(made.calls[1])),
    ("an effect that nobody wrote down", "L4", lambda made: made.calls.append({**made.calls[1], "key": DEAD})),
    ("an effect that is only claimed", "L4", lambda made: made.calls.pop()),
    ("a dead letter that was good", "L5", _insert("dead_letters", position=3)),
    ("a dead letter is not on the topic", "L5", lambda made: made.records.clear()),
    ("a record of no dead letter", "L5", lambda made: made.records.append({**made.records[0], "position": 3})),
    ("work is left in the outbox", "L6", _insert("outbox", ready=True)),
    ("messages are unfinished", "L6", _quiet(left={"lag of tool": 3})),
    ("events are not published", "L6", _quiet(left={"unpublished": 2})),
    ("a request was never answered", "L6", lambda made: made.answers.unanswered.append("POST 1")),
    ("a row is another tenant's", "L7", lambda made: made.run(f"UPDATE outbox SET tenant_id = '{BOB}'")),
    ("another tenant spoke", "L7", lambda made: made.run(f"UPDATE inputs SET actor = 'desk of {BOB}'")),
    ("a tool was called for another tenant", "L7", lambda made: made.calls[0].update(tenant=BOB)),
    ("a record is another tenant's", "L7", lambda made: made.records[0].update(tenant=BOB)),
    ("the ledger was off for a moment", "L8", lambda made: made.unbalanced.append({"tenant_id": ANN})),
)


@pytest.mark.parametrize(("red", "spoil"), [case[1:] for case in SPOILED], ids=[case[0] for case in SPOILED])
def test_an_invariant_turns_red(good: MadeUp, red: str, spoil: Spoil) -> None:
    # when one thing is not as it should be
    spoil(good)
    # then exactly the invariant about it is broken
    assert good.red() == [red]


def test_every_invariant_is_among_them() -> None:
    assert {red for _, red, _ in SPOILED} == set(Invariant.__members__)


@pytest.mark.parametrize("live", [_redriven, lambda m: m.calls.append({**m.calls[0], "outcome": "worked"})])
def test_what_may_happen_is_no_breach(good: MadeUp, live: Spoil) -> None:
    # given a dead letter that was redriven and failed again, or a repeated call that the tool recognises
    live(good)
    # then nothing is broken
    assert good.red() == []
