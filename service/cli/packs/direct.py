"""A tenant's packs in the database of DATABASE_URL, for those who operate the installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel
from sqlalchemy import Engine

from service.api import pack_presenting as presenting
from service.cli.packs.files import PackFile, PackFileInvalidError, PackUnreadableError
from service.cli.packs.places import Activation, Backtest, Progress
from service.domain.packs import PackInvalidError
from service.domain.packs.reading.documents import PackKind
from service.engine.backtest import Asked, finish
from service.engine.pack_backtest import Backtester
from service.engine.pack_history import versions_of
from service.engine.pack_life import Instruction, PackLife, TestsFailError
from service.engine.pack_pairs import PackKey, report_of
from service.errors import PermanentError
from service.keyring import open_sealing
from service.persistence import packs as stored
from service.persistence.administration import require_tenant
from service.persistence.database import Role, open_engine
from service.persistence.packs import PackUnknownError, ReportKey
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.settings import load_settings

BY = "cli"
"""How the history names whoever works on the database."""
Json = dict[str, Any]


class WrongInstantError(PermanentError):
    """An instant is not one."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no instant; give one with its offset, like 2026-12-01T00:00:00+01:00")


class DirectPlace:
    """One tenant's packs, as the API's role sees them."""

    def __init__(self, environ: Mapping[str, str], tenant_id: str) -> None:
        self._environ = environ
        self._settings = load_settings(environ)
        self._tenant_id = tenant_id

    def versions(self) -> list[Json]:
        """Every version of every pack."""
        with self._transaction() as transaction:
            return [_json(presenting.summary(one)) for one in versions_of(transaction, self._tenant_id, _now())]

    def show(self, key: PackKey, version: int | None) -> Json:
        """One version with its document; None: the newest."""
        with self._transaction() as transaction:
            number = version or self._newest(transaction, key)
            document = stored.get_pack(transaction, self._tenant_id, key.kind, key.name, number)
            test = stored.get_report(transaction, self._tenant_id, ReportKey(key.kind, key.name, number, "test"))
            versions = versions_of(transaction, self._tenant_id, _now(), key.kind, key.name)
            return _json(presenting.detail(versions, number, document, test.document if test else None))

    def put(self, file: PackFile, comment: str | None) -> Json:
        """Store a file as a draft."""
        named = file.document.get("tenantId", file.document.get("tenant_id"))
        if file.given.kind is PackKind.TENANT and named != self._tenant_id:
            raise PackUnreadableError(file.path, f"is the pack of tenant {named!r}")
        with self._transaction() as transaction:
            life = self._life(transaction)
            try:
                warnings = life.check(file.given)
            except PackInvalidError as error:
                raise PackFileInvalidError(file.path, error.faults) from None
            put = life.put(file.key, file.document, comment)
        return {
            "kind": file.key.kind,
            "name": file.key.name,
            "version": put.version,
            "created": put.created,
            "active": put.active,
            "warnings": [_json(one) for one in presenting.faults(warnings)],
            "missingVariables": life.missing_variables(file.document),
        }

    def test(self, key: PackKey, version: int | None, other: int | None) -> Json:
        """Run the suites."""
        with self._transaction() as transaction:
            pair, results = self._life(transaction).test(key, version or self._newest(transaction, key), other)
        return report_of(pair, results)

    def backtest(self, key: PackKey, wanted: Backtest, progress: Progress) -> Json:
        """Decide the last exceptions again."""
        with self._transaction() as transaction:
            version = wanted.version or self._newest(transaction, key)
        engine = self._engine(sealed=True)
        try:
            backtester = Backtester(engine, self._tenant_id, BY, _now(), self._settings.pack_variables)
            asked = Asked(self._tenant_id, wanted.limit, wanted.exception_type)
            report = finish(backtester.of_version(key, version, wanted.other, asked), progress)
        finally:
            engine.dispose()
        shown = report["differences"][: wanted.differences]
        return {**report, "differences": shown, "differencesLeftOut": report["changed"] - len(shown)}

    def activate(self, versions: list[tuple[PackKey, int | None]], how: Activation) -> list[Json]:
        """Activate versions together, all or none."""
        instruction = Instruction(_instant(how.at), how.comment, how.force)
        refused: TestsFailError | None = None
        with self._transaction() as transaction:
            chosen = [(key, version or self._newest(transaction, key)) for key, version in versions]
            try:
                numbers = self._life(transaction).activate_all(chosen, instruction)
            except TestsFailError as error:
                refused = error  # The transaction commits: the report of the tests is kept with the version.
        if refused is not None:
            cases = "".join(f"\n  {result.path}: {result.told}" for result in refused.failed)
            raise PermanentError(f"{refused}{cases}")
        with self._transaction() as transaction:
            return [
                _json(
                    presenting.activated(
                        key, versions_of(transaction, self._tenant_id, _now(), key.kind, key.name), version, number
                    )
                )
                for (key, version), number in zip(chosen, numbers, strict=True)
            ]

    def rollback(self, key: PackKey, comment: str | None, scheduled: bool) -> Json:
        """Bring the version before back, or take back what is scheduled."""
        with self._transaction() as transaction:
            self._newest(transaction, key)
            life = self._life(transaction)
            withdrawn = life.withdraw(key, comment) if scheduled else []
            if not scheduled:
                life.rollback(key, comment)
        with self._transaction() as transaction:
            versions = versions_of(transaction, self._tenant_id, _now(), key.kind, key.name)
        active = presenting.active_version(versions)
        return {"kind": key.kind, "name": key.name, "activeVersion": active, "withdrawn": withdrawn}

    def history(self, key: PackKey) -> list[Json]:
        """What was activated, newest first."""
        with self._transaction() as transaction:
            self._newest(transaction, key)
            entries = self._life(transaction).history(key)
        return [_json(one) for one in presenting.history(entries).items]

    def _life(self, transaction: Transaction) -> PackLife:
        return PackLife(transaction, self._tenant_id, BY, _now(), self._settings.pack_variables)

    def _newest(self, transaction: Transaction, key: PackKey) -> int:
        newest = stored.newest_version(transaction, self._tenant_id, key.kind, key.name)
        if newest is None:
            raise PackUnknownError(key.kind, key.name, None)
        return newest

    def _engine(self, *, sealed: bool = False) -> Engine:
        sealing = open_sealing(self._settings, self._environ) if sealed else None
        return open_engine(self._settings.database_url, Role.APPLICATION, pool_size=1, sealing=sealing)

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        engine = self._engine()
        try:
            with unit_of_work(engine, [self._tenant_id]) as transaction:
                require_tenant(transaction, self._tenant_id)
                yield transaction
        finally:
            engine.dispose()


def _now() -> datetime:
    return datetime.now(UTC)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongInstantError(text) from None
    if found.tzinfo is None:
        raise WrongInstantError(text)
    return found


def _json(model: BaseModel) -> Json:
    """A model as the API answers it."""
    document: Json = orjson.loads(model.model_dump_json(by_alias=True))
    return document
