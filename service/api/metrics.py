"""What /metrics tells, in Prometheus' words: figures of the whole installation, read when they are asked for.

They are PostgreSQL's, not this process's, so every API process tells the same, and what a dispatcher or a worker did is
told too. Scraping is cheap: what was read is told again for a while, and for longer the more it cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from service.persistence.metrics import Figures, figures
from service.persistence.queries import Ledger, ledgers
from service.persistence.unit_of_work import unit_of_work

FIGURES_SECONDS = 1.0
LEDGER_SECONDS = 10.0
"""How long what was read is told again, at least."""

COST_SHARE = 0.05
"""Reading takes at most this share of a process's time: what took a second is told again for twenty."""

LONGEST_READ_SECONDS = 10
"""PostgreSQL gives up a read that takes longer: a scrape must not pile up on the one before."""

STATES = ("resolved", "escalated", "cancelled", "waiting", "in_flight", "dead_lettered", "discarded")
_T = TypeVar("_T")


class Remembered(Generic[_T]):
    """A value that is read again when it is too old. One thread reads, the others wait for it."""

    def __init__(self, read: Callable[[], _T], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._until = float("-inf")
        self._value: _T

    def __call__(self) -> _T:
        """The value; whatever reading raises."""
        with self._lock:
            began = self._clock()
            if began >= self._until:
                self._value = self._read()
                now = self._clock()
                self._until = now + max(self._seconds, (now - began) / COST_SHARE)
            return self._value


class Exposition(Collector):
    """The installation's figures. `engine` acts as SYSTEM."""

    def __init__(self, engine: Engine) -> None:
        self._figures = Remembered(lambda: self._read(figures), FIGURES_SECONDS)
        self._ledgers = Remembered(lambda: self._read(ledgers), LEDGER_SECONDS)
        self._engine = engine
        self._registry = CollectorRegistry()
        # Described by nobody: registering must not read the database.
        self._registry.register(self)

    def text(self) -> bytes:
        """In Prometheus' text format. Raises DatabaseUnavailableError."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from of_ledgers(self._ledgers())
        yield from of_figures(self._figures())

    def _read(self, read: Callable[..., _T]) -> _T:
        with unit_of_work(self._engine) as transaction:
            transaction.run(f"SET LOCAL statement_timeout = '{LONGEST_READ_SECONDS}s'")
            return read(transaction)


def of_ledgers(books: Sequence[Ledger]) -> Iterator[Metric]:
    """The conservation ledger, tenant by tenant."""
    accepted = _gauge("sentinai_ledger_accepted", "Exceptions accepted.", "tenant")
    counted = _gauge("sentinai_ledger_exceptions", "Exceptions by where they are in the ledger.", "tenant", "state")
    balanced = _gauge("sentinai_ledger_balanced", "1: everything accepted is somewhere; 0: call somebody.", "tenant")
    for one in books:
        accepted.add_metric([one.tenant_id], one.accepted)
        balanced.add_metric([one.tenant_id], one.balanced)
        for state in STATES:
            counted.add_metric([one.tenant_id, state], getattr(one, state))
    yield from (accepted, counted, balanced)


def of_figures(seen: Figures) -> Iterator[Metric]:
    """Everything else."""
    yield from _of_work(seen)
    yield from _of_upkeep(seen)
    letters = _gauge("sentinai_dead_letters", "Dead letters.", "tenant", "state", "kind")
    for row in seen.dead_letters:
        letters.add_metric([row.tenant_id, row.state, row.error_kind], row.number)
    unpublished = _gauge("sentinai_relay_unpublished_events", "Events not published; counted to 100,000.", "cursor")
    behind = _gauge("sentinai_relay_lag_seconds", "Age of the oldest event that is not published.", "cursor")
    for relay in seen.relays:
        unpublished.add_metric([relay.cursor], relay.unpublished)
        behind.add_metric([relay.cursor], relay.seconds_behind)
    agrees = _gauge("sentinai_dead_letter_audit_agrees", "1: topic, log and table agreed at the last audit.", "cursor")
    age = _gauge("sentinai_dead_letter_audit_age_seconds", "Since the last audit.", "cursor")
    for audit in seen.audits:
        agrees.add_metric([audit.name], audit.agree)
        age.add_metric([audit.name], audit.age_seconds)
    yield from (letters, unpublished, behind, agrees, age)


def _of_work(seen: Figures) -> Iterator[Metric]:
    outbox = _gauge("sentinai_outbox_rows", "Work in the outbox, by why it is there.", "state")
    for state in ("ready", "held", "paused", "behind"):
        outbox.add_metric([state], getattr(seen.outbox, state))
    yield outbox
    yield _one("sentinai_outbox_oldest_ready_seconds", "How long the oldest ready row has waited.",
               seen.outbox.oldest_seconds)  # fmt: skip
    yield _one("sentinai_lanes", "Lanes of the installation.", seen.lanes.lanes)
    yield _one("sentinai_lanes_served", "Lanes that a dispatcher holds the lease of.", seen.lanes.served)
    yield _one("sentinai_dispatchers", "Dispatchers that are there.", seen.lanes.dispatchers)
    yield _one("sentinai_retries_scheduled", "Exceptions that wait for their next attempt.", seen.work.retries)
    yield _one("sentinai_effects_unknown", "Exceptions with a call that only a person can rule on.",
               seen.work.effects_unknown)  # fmt: skip
    yield _one("sentinai_notifications_pending", "Notifications still to be sent.", seen.work.notifications)
    pauses = _gauge("sentinai_pauses", "Pauses in force.", "scope")
    for scope in ("tenant", "tool", "stage", "dispatch"):
        pauses.add_metric([scope], sum(pause.scope == scope for pause in seen.pauses))
    yield pauses


def _of_upkeep(seen: Figures) -> Iterator[Metric]:
    actions = CounterMetricFamily(
        "sentinai_reconciler_actions", "Work made ready again because it did not move.", labels=["kind"]
    )
    found = _gauge("sentinai_reconciler_found", "What the last look found that a person has to see.", "kind")
    for row in seen.kinds:
        if row.looked_at is None:
            actions.add_metric([row.kind], row.actions)
        else:
            found.add_metric([row.kind], row.found)
    age = _gauge("sentinai_chore_age_seconds", "Since a chore of the dispatchers was last done.", "chore")
    took = _gauge("sentinai_chore_seconds", "How long it took.", "chore")
    for row in seen.chores:
        age.add_metric([row.name], row.age_seconds)
        took.add_metric([row.name], row.seconds)
    yield from (actions, found, age, took)
    yield _one("sentinai_reconciler_suspects", "Exceptions that should have moved by now.", seen.work.suspects)


def _gauge(name: str, told: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=labels)


def _one(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, value=value)
