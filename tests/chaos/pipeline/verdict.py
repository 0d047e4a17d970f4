"""The judge: the invariants L1 to L8, by SQL over the database, the dead-letter topic and the tool server's log.

An invariant that is kept has no breaches; a breach says what broke it and by which ids, so that its evidence can
be gathered. Nothing that the product's processes say of themselves counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from service.persistence.unit_of_work import Transaction, as_json
from tests.chaos.pipeline import statements as sql
from tests.chaos.pipeline.answers import Answers

_MOST = 20
"""Breaches that are kept of one statement; more of the same tell nothing new."""


class Invariant(StrEnum):
    """What must hold whatever breaks."""

    L1 = "nothing that was answered 202 is lost"
    L2 = "nothing is applied twice"
    L3 = "each exception is worked in order"
    L4 = "no effect happens twice"
    L5 = "dead letters are what is poison or refused, in the table and on the topic"
    L6 = "outbox and queues are empty within 120 s of the last fault"
    L7 = "no tenant has what is another's"
    L8 = "the ledger balances at every instant"


@dataclass(frozen=True)
class Breach:
    """What broke an invariant."""

    what: str
    row: Mapping[str, Any]

    @property
    def exception_id(self) -> str | None:
        """Whose timeline tells more, if it is about one exception."""
        found = self.row.get("exception_id") or self.row.get("id") or self.row.get("exception")
        return None if found is None else str(found)


@dataclass(frozen=True)
class Quiet:
    """How a round came to rest."""

    seconds: float | None
    """After the last fault was mended; None: not within the time there is."""
    left: Mapping[str, Any] = field(default_factory=dict)
    """What kept it from that, by what it is: `under way` (exceptions, which L1 is about), `outbox`, `unpublished`
    (events), `lag of <queue>`, `away` (what did not answer)."""
    last: Mapping[str, Any] = field(default_factory=dict)
    """What was waited for at the end, by the same names."""


@dataclass(frozen=True)
class Seen:
    """What the verdict is about, besides the database."""

    tenants: Sequence[str]
    answers: Answers
    calls: Sequence[Mapping[str, Any]]
    """The tool server's log: `key`, `tool`, `tenant`, `outcome` of each call."""
    records: Sequence[Mapping[str, Any]]
    """The dead-letter topic: `exception`, `tenant`, `position` of each record."""
    unbalanced: Sequence[Mapping[str, Any]]
    """The tenants' ledgers, at the instants when they did not balance."""
    quiet: Quiet
    read_at: float
    """When the log and the topic were read, in seconds since the epoch; what came to an end later cannot be there."""


Verdict = dict[Invariant, list[Breach]]
"""Breaches by invariant; those that are kept are not in it."""

_ROWS: Mapping[Invariant, Mapping[str, str]] = {
    Invariant.L1: {"lost, or not where its kind comes to rest": sql.LOST, "an input is lost": sql.LOST_INPUTS},
    Invariant.L2: {"applied twice": sql.APPLIED_TWICE, "one request, several exceptions": sql.ACCEPTED_TWICE},
    Invariant.L3: {
        "positions or sequences are not contiguous": sql.GAPS,
        "sequence or stage went back": sql.BACKWARDS,
        "worked before its turn": sql.BEFORE_ITS_TURN,
    },
    Invariant.L4: {
        "happened twice": sql.EFFECT_TWICE,
        "happened, and nobody wrote it down": sql.EFFECT_UNKNOWN_TO_US,
        "confirmed, and never happened": sql.EFFECT_ONLY_CLAIMED,
    },
    Invariant.L5: {
        "not what was put in": sql.DEAD_LETTERS_OFF,
        "table and topic disagree": sql.TABLE_AND_TOPIC_DISAGREE,
    },
    Invariant.L6: {"left in the outbox": sql.LEFT_IN_OUTBOX},
    Invariant.L7: {
        "a row under another tenant": sql.UNDER_ANOTHER,
        "accepted for another tenant": sql.ACCEPTED_FOR_ANOTHER,
        "an input of another tenant's": sql.SAID_BY_ANOTHER,
        "a call for another tenant": sql.CALLED_FOR_ANOTHER,
        "a record for another tenant": sql.RECORDED_FOR_ANOTHER,
    },
    Invariant.L8: {},
}


def judge(transaction: Transaction, seen: Seen) -> Verdict:
    """What broke which invariant. The transaction sees every tenant."""
    found = {invariant: _breaches(transaction, named, seen) for invariant, named in _ROWS.items()}
    found[Invariant.L1] += [Breach("an answer that no source may get", {"answer": one}) for one in seen.answers.refused]
    found[Invariant.L6] += _unrest(seen)
    found[Invariant.L8] += [Breach("not balanced", one) for one in seen.unbalanced[:_MOST]]
    return {invariant: breaches for invariant, breaches in found.items() if breaches}


def names(verdict: Verdict) -> list[str]:
    """The names of the invariants that were broken: L1, L2, …"""
    return [invariant.name for invariant in Invariant if invariant in verdict]


def _breaches(transaction: Transaction, named: Mapping[str, str], seen: Seen) -> list[Breach]:
    parameters = {
        "tenants": list(seen.tenants),
        "expected": as_json(seen.answers.expected()),
        "inputs": as_json(
            [{"id": one.exception_id, "sequence": one.sequence} for one in seen.answers.inputs if one.sequence]
        ),
        "calls": as_json(list(seen.calls)),
        "records": as_json(list(seen.records)),
        "read_at": seen.read_at,
    }
    return [
        Breach(what, row._asdict())
        for what, statement in named.items()
        for row in transaction.rows(statement, parameters)[:_MOST]
    ]


def _unrest(seen: Seen) -> list[Breach]:
    left = {what: value for what, value in seen.quiet.left.items() if what not in ("under way", "outbox")}
    found = [Breach(f"not at rest: {what}", {"left": value}) for what, value in left.items()]
    return found + [Breach("a request has no answer", {"request": one}) for one in seen.answers.unanswered[:_MOST]]
