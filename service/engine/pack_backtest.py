"""A backtest of a stored version: what would decide beside it is found, and its report is kept with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from service.engine.backtest import Asked, Running, backtest
from service.engine.pack_life import PackLife
from service.engine.pack_pairs import PackKey, Pair, lenient_build
from service.engine.packs import PackSource
from service.persistence.packs import StoredPacks
from service.persistence.unit_of_work import unit_of_work


@dataclass(frozen=True, slots=True)
class Backtester:
    """Backtests of one tenant's packs."""

    engine: Engine
    tenant_id: str
    by: str
    now: datetime
    variables: Mapping[str, str]

    def of_version(self, key: PackKey, version: int, other: int | None, asked: Asked) -> Running:
        """The report of a version, kept with it. Raises PackUnknownError, PackInvalidError, NotPossibleError."""
        with self._life() as life:
            pair = life.pairs.pair(key, version, other)
        report = yield from self.of_pair(pair, asked)
        with self._life() as life:
            life.keep_report(key, version, "backtest", report)
        return report

    def of_pair(self, pair: Pair, asked: Asked) -> Running:
        """The report of two packs, stored or not. Raises PackInvalidError."""
        source = PackSource(StoredPacks(), lenient_build(self.variables))
        report = yield from backtest(self.engine, source, pair.pack_set(self.tenant_id), asked)
        return {"domainVersion": pair.domain_version, "tenantVersion": pair.tenant_version, **report}

    @contextmanager
    def _life(self) -> Iterator[PackLife]:
        with unit_of_work(self.engine, [self.tenant_id]) as transaction:
            yield PackLife(transaction, self.tenant_id, self.by, self.now, self.variables)
