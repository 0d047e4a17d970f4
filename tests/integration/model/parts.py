"""The product on one database, put together as its processes would put it together, but for what the test plays.

Its clock is the test's, and its processes may die around every commit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from service.api import acceptance, inputs
from service.api.app import build_app
from service.api.auth import Authenticator
from service.api.context import EXTENSION
from service.api.views import redriving
from service.dispatch import dispatcher as dispatching
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.lanes import LaneLeases
from service.dispatch.timers import Timers
from service.domain.exceptions import Stage
from service.domain.packs import build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.stages import DECIDE
from service.engine import pipeline as piping
from service.engine import runner, turns
from service.engine.batch import Batch
from service.engine.packs import PackSource
from service.engine.pipeline import Pipeline
from service.engine.results import Retry
from service.engine.runner import StageRunner
from service.engine.turns import Turns
from service.persistence.packs import StoredPacks
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.settings import Settings
from service.tools.admission import AdmitAll, Held
from service.tools.calls import PreparedCall

LANES = 2
BATCH_SIZE = 3

_MORTAL = (acceptance, inputs, redriving, dispatching, piping, runner, turns)
"""Modules whose processes may die around their commits."""
_FORGET = """
TRUNCATE exceptions, outbox, timers, inputs, events, plans, plan_steps, tool_executions, dead_letters, suspects
"""
_VARIABLES = {"toolServerUrl": "https://tools.example"}


class ProcessDiedError(BaseException):
    """A process was killed here. No code of the product may catch it."""


@dataclass
class Mortality:
    """Kills the process at the n-th moment from now: before a commit, after it, or before something is published."""

    left: int | None = None

    def moment(self) -> None:
        """Here a process may die."""
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise ProcessDiedError

    @contextmanager
    def unit_of_work(self, engine: Engine, tenants: Iterable[str] = ()) -> Iterator[Transaction]:
        """In place of the product's."""
        with unit_of_work(engine, tenants) as transaction:
            yield transaction
            self.moment()
        self.moment()


class _Gate:
    def __init__(self, closed: set[str]) -> None:
        self._closed = closed

    def admit(self, call: PreparedCall) -> Held | None:
        tool = call.call.tool
        return Held(call.key, tool, "the test closed it", 5.0) if tool in self._closed else None


class _Admission(AdmitAll):
    """Holds the calls of tools that the test closed."""

    def __init__(self) -> None:
        self.closed: set[str] = set()

    def gate(self) -> Any:
        return _Gate(self.closed)


class _NoLimit:
    def take(self, tenant_id: str, exceptions: int) -> None:
        """Nobody sends too much."""


class _Tools:
    """What the pipeline asks of the tool stage besides running it."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def give_up(self, retries: Sequence[Retry]) -> Any:
        return self._turns.give_up(retries).onward


class Parts:
    """The product on one database, put together once; examples share it one after the other."""

    def __init__(self, settings: Settings, system: Engine, application: Engine, patch: pytest.MonkeyPatch) -> None:
        self.settings, self.system, self.application = settings, system, application
        self.now = datetime.now(UTC)
        self.mortality = Mortality()
        self.admission = _Admission()
        self.sent: list[tuple[Batch, Stage]] = []
        self._accepted = 0
        for module in _MORTAL:
            patch.setattr(module, "unit_of_work", self.mortality.unit_of_work)
        # Which lane it is must not depend on an id that no two runs have alike.
        patch.setattr(acceptance, "lane_of", lambda _id, _lanes: self._next_lane())
        packs = PackSource(
            StoredPacks(),
            lambda d, t, v: build_pack_set(parse_domain_pack(d, _VARIABLES), parse_tenant_pack(t, variables={}), v),
        )
        self.turns = Turns(application, packs, lambda: self.now, self.admission)
        tools: Any = _Tools(self.turns)
        nobody: Any = None
        self.pipeline = Pipeline(
            engine=application,
            deciding=StageRunner(application, packs, DECIDE, lambda: self.now),
            tools=tools,
            notifier=nobody,
            isolation=nobody,
            clock=lambda: self.now,
            close=lambda: None,
        )
        self.client = self._api()
        leases = LaneLeases(system, "the test", 3600.0)
        leases.ensure(LANES)
        self.dispatcher = Dispatcher(
            engine=system, leases=leases, sender=self, listen=None, batch_ids=uuid4, batch_size=BATCH_SIZE,
            batches_in_flight=1_000_000, renew_every_seconds=600.0, clock=lambda: self.now.timestamp(),
        )  # type: ignore[arg-type]  # fmt: skip
        self.timers = Timers(system, lambda: self.now)

    def send(self, batch: Batch, first: Stage) -> None:
        """The dispatcher's sender."""
        self.sent.append((batch, first))
        self.mortality.moment()

    def begin(self, now: datetime) -> None:
        """Another example."""
        self.now = now
        self._accepted = 0
        self.mortality.left = None
        self.admission.closed.clear()
        self.sent.clear()
        self.dispatcher._windows.clear()
        self.dispatcher._renew_at = 0.0
        self.dispatcher._keep_leases()

    def forget(self, owner: Engine) -> None:
        """Remove what an example that failed has left."""
        with unit_of_work(owner) as transaction:
            transaction.run(_FORGET)

    def _next_lane(self) -> int:
        self._accepted += 1
        return self._accepted % LANES

    def _api(self) -> FlaskClient:
        app = build_app(self.settings)
        limits: Any = _NoLimit()
        app.extensions[EXTENSION] = dataclasses.replace(
            app.extensions[EXTENSION],
            now=lambda: self.now,
            rates=limits,
            engine=self.application,
            authenticator=Authenticator(self.application),
        )
        return app.test_client()
