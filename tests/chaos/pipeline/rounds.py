"""One round: load comes in, faults strike and are mended, everything comes to rest, and the verdict is spoken."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException
from requests import RequestException
from sqlalchemy import Engine

from service.errors import InfrastructureUnavailableError
from service.persistence.unit_of_work import unit_of_work
from service.transport.errors import BrokerUnavailable
from tests.chaos.pipeline import outside
from tests.chaos.pipeline import statements as sql
from tests.chaos.pipeline.answers import Answers
from tests.chaos.pipeline.desks import open_desk
from tests.chaos.pipeline.faults.fault import Fault
from tests.chaos.pipeline.kinds import Kind, body
from tests.chaos.pipeline.load import Load
from tests.chaos.pipeline.plan import Round, Strike
from tests.chaos.pipeline.recovery import Recovery, Struck, recovery
from tests.chaos.pipeline.verdict import Quiet, Seen, Verdict, judge
from tests.chaos.pipeline.watch import LedgerWatch
from tests.chaos.pipeline.world import World

QUIET_WITHIN = 120.0
_LOOK_EVERY = 0.25
_AWAY = (InfrastructureUnavailableError, BrokerUnavailable, KafkaException, RequestException)
_NOBODY_WAITS = (Kind.STRAIGHT, Kind.BATCH, Kind.INTERNAL)
"""Kinds that go straight to their end: how long they take tells of a fault and of nothing else."""


@dataclass(frozen=True)
class Outcome:
    """What a round came to."""

    round: Round
    verdict: Verdict
    seen: Seen
    recoveries: tuple[Recovery, ...]
    accepted: int
    seconds: float
    looks: int
    """How often the ledger was looked at."""
    struck: tuple[Struck, ...] = field(default=())


class RoundRunner:
    """Carries rounds out in one world, one after the other."""

    def __init__(
        self, world: World, faults: Mapping[str, Fault], say: Callable[[str], None], patience: float = QUIET_WITHIN
    ) -> None:
        """`patience`: seconds after the last fault within which everything is at rest."""
        self._world = world
        self._patience = patience
        self._faults = faults
        self._say = say

    def run(self, plan: Round, tenants: int) -> Outcome:
        """The round and its verdict. The world is mended afterwards, whatever the verdict is."""
        began = time.monotonic()
        outside.forget_calls(self._world.tool_server_url)
        desks = [open_desk(self._world.system) for _ in range(tenants)]
        names = [desk.tenant_id for desk in desks]
        answers = Answers()
        load = Load(plan.posts, desks, self._world.api_urls, answers)
        with LedgerWatch(self._world.system, names) as watch, load:
            struck = self._strike(plan, time.monotonic())
            last = time.monotonic()
            until = time.time()
            quiet = _settled(self._world, names, load, last + self._patience)
        seen = self._seen(names, answers, watch, quiet)
        with unit_of_work(self._world.system) as transaction:
            verdict = judge(transaction, seen)
        return Outcome(
            round=plan,
            verdict=verdict,
            seen=seen,
            recoveries=tuple(_recoveries(self._world.system, names, struck, until)),
            accepted=len(answers.accepted),
            seconds=round(time.monotonic() - began, 1),
            looks=watch.looks,
            struck=tuple(struck),
        )

    def _seen(self, tenants: list[str], answers: Answers, watch: LedgerWatch, quiet: Quiet) -> Seen:
        read_at = time.time()
        return Seen(
            tenants=tenants,
            answers=answers,
            calls=_patiently(lambda: outside.calls(self._world.tool_server_url, tenants)),
            records=_patiently(lambda: outside.dead_letter_records(self._world.kafka, tenants)),
            unbalanced=watch.unbalanced,
            quiet=quiet,
            read_at=read_at,
        )

    def _strike(self, plan: Round, start: float) -> list[Struck]:
        """Let each fault of the plan happen at its time; return when the last is mended and the load is all posted."""
        struck = []
        for strike in plan.strikes:
            _wait_until(start + strike.at)
            with self._in_force(strike) as when:
                _wait_until(time.monotonic() + strike.lasts)
            struck.append(Struck(strike.fault, when, time.time(), self._told(strike)))
        _wait_until(start + max((post.at for post in plan.posts), default=0.0))
        return struck

    def _told(self, strike: Strike) -> str:
        fault = self._faults.get(strike.fault)
        return fault.told if fault else "it came with the load"

    @contextmanager
    def _in_force(self, strike: Strike) -> Iterator[float]:
        fault = self._faults.get(strike.fault)
        when = time.time()
        if fault is None:
            # Poison is in the load.
            yield when
            return
        try:
            fault.strike(self._world, random.Random(strike.seed))
            self._say(f"  {strike.fault} is in force: {fault.told}")
            yield when
        finally:
            fault.mend(self._world)
            self._say(f"  {strike.fault} mended after {time.time() - when:.1f} s")


def _settled(world: World, tenants: list[str], load: Load, deadline: float) -> Quiet:
    """Wait until nothing is left to do, or the time for it is over."""
    began = time.monotonic()
    last: dict[str, Any] = {}
    while True:
        late = time.monotonic() > deadline
        try:
            # Kafka is dear to ask, and says little while work goes on.
            left = _left(world, tenants)
            left |= {} if left and not late else _lag(world)
        except _AWAY as error:
            left = {"away": str(error)}
        if not left and not load.left:
            return Quiet(round(time.monotonic() - began, 2), last=last)
        if late:
            return Quiet(None, left, left)
        last = left or {"requests": len(load.left)}
        time.sleep(_LOOK_EVERY)


def _left(world: World, tenants: list[str]) -> dict[str, Any]:
    """What is not at rest by the database's account; empty when all is."""
    with unit_of_work(world.system) as transaction:
        left: dict[str, Any] = {
            "under way": len(transaction.rows(sql.UNDER_WAY, {"tenants": tenants})),
            "outbox": len(transaction.rows(sql.LEFT_IN_OUTBOX, {"tenants": tenants})),
        }
    left["unpublished"] = outside.unpublished(world.system)
    return {what: count for what, count in left.items() if count}


def _lag(world: World) -> dict[str, Any]:
    return {f"lag of {queue}": lag for queue, lag in outside.lag(world.kafka, world.environment).items()}


def _recoveries(system: Engine, tenants: list[str], struck: list[Struck], until: float) -> Iterator[Recovery]:
    types = [body(kind, "")["exceptionType"] for kind in _NOBODY_WAITS]
    with unit_of_work(system) as transaction:
        resolved = [row.at for row in transaction.rows(sql.RESOLVED_AT, {"tenants": tenants})]
        rows = transaction.rows(sql.TO_REST, {"tenants": tenants, "types": types})
    rests = [(row.accepted, row.rested) for row in rows if row.rested is not None]
    for one in struck:
        yield recovery(one, resolved, rests, until)


def _patiently(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Ask again for a while: what was mended may still be coming up."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask()
        except _AWAY:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
