"""The life of a pack: checked, stored as a draft, tested, activated at an instant, rolled back.

The rules that the HTTP API and the command line share. Everything happens in the caller's transaction, and what
may not be done is one of this module's errors. Texts become documents in `service.domain.packs.reading.documents`,
versions are stored by `service.persistence.packs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from service.domain.pack_suites import CaseResult
from service.domain.packs import Fault, PackInvalidError
from service.domain.packs.deciding.activations import scheduled
from service.domain.packs.reading.documents import PackDocument, PackKind
from service.engine.pack_history import HistoryEntry, history_of, version_before
from service.engine.pack_pairs import Json, NotPossibleError, PackKey, Pair, Pairs, placeholders, report_of
from service.errors import PermanentError
from service.persistence import packs as stored
from service.persistence.packs import TENANT_PACK, StoredVersion
from service.persistence.unit_of_work import Transaction


class TestsFailError(PermanentError):
    """The version's test suites do not pass, and nobody gave a reason to go on all the same."""

    __test__ = False

    def __init__(self, key: PackKey, version: int, failed: Sequence[CaseResult]) -> None:
        self.failed = tuple(failed)
        super().__init__(
            f"{len(self.failed)} test case(s) of {key} version {version} fail; correct the pack, or activate it with "
            "a reason (force)"
        )


class DoesNotFitError(PermanentError):
    """The version cannot be used together with the tenant's other pack; no reason helps."""

    def __init__(self, key: PackKey, version: int, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        told = "; ".join(map(str, self.faults[:5]))
        super().__init__(f"{key} version {version} does not fit the tenant's other pack: {told}")


class ChangedMeanwhileError(PermanentError):
    """Somebody stored another version since the caller looked."""

    def __init__(self, key: PackKey, newest: int | None) -> None:
        self.newest = newest
        now = "there is none" if newest is None else f"its newest version is {newest}"
        super().__init__(f"{key} is not what you expect: {now}; read it again, and send your change on top of that")


@dataclass(frozen=True, slots=True)
class Instruction:
    """How a version is to be activated."""

    at: datetime | None = None
    """From when on; None: now."""
    comment: str | None = None
    force: str | None = None
    """Why, although its tests fail."""


class PackLife:
    """One tenant's packs, changed by somebody at a time."""

    def __init__(
        self, transaction: Transaction, tenant_id: str, by: str, now: datetime, variables: Mapping[str, str]
    ) -> None:
        self._transaction = transaction
        self._tenant_id = tenant_id
        self._by = by
        self._now = now
        self._variables = variables
        self.pairs = Pairs(transaction, tenant_id, now, variables)

    def check(self, given: PackDocument) -> tuple[Fault, ...]:
        """Everything odd about a pack, with lines. A tenant pack is checked against its domain, where that is stored.

        Raises PackInvalidError with every fault and its line.
        """
        try:
            if given.kind is PackKind.DOMAIN:
                return given.located(self.pairs.domain(given.document).warnings)
            domain, _ = self.pairs.domain_for(given.document)
            return given.located(self.pairs.tenant(given.document, domain).warnings)
        except PackInvalidError as error:
            raise PackInvalidError(given.kind.value, given.located(error.faults)) from error

    def put(
        self, key: PackKey, document: Json, comment: str | None = None, expected: int | None = None
    ) -> StoredVersion:
        """Store a checked document as a draft. `expected`: the newest version that the change was made on (0: none).

        Raises ChangedMeanwhileError.
        """
        stored.lock_pack(self._transaction, self._tenant_id, key.kind, key.name)
        if expected is not None:
            newest = stored.newest_version(self._transaction, self._tenant_id, key.kind, key.name)
            if expected != (newest or 0):
                raise ChangedMeanwhileError(key, newest)
        return stored.put_pack(self._transaction, self._tenant_id, key.kind, key.name, document, self._by, comment)

    def test(self, key: PackKey, version: int, other: int | None = None) -> tuple[Pair, tuple[CaseResult, ...]]:
        """Run a version's suites and keep the report with it."""
        pair = self.pairs.pair(key, version, other)
        results = pair.test(self._now)
        self.keep_report(key, version, "test", report_of(pair, results))
        return pair, results

    def activate(self, key: PackKey, version: int, how: Instruction) -> int:
        """Activate one version; its number in the history.

        Raises TestsFailError, DoesNotFitError, NotPossibleError, PackUnknownError.
        """
        return self.activate_all([(key, version)], how)[0]

    def activate_all(self, versions: Sequence[tuple[PackKey, int]], how: Instruction) -> list[int]:
        """Activate versions together, all or none: each is tested with the others of the list beside it."""
        if how.at is not None and how.at <= self._now:
            raise NotPossibleError("the instant is past; leave it out to activate now, or give one in the future")
        self._lock([key for key, _ in versions])
        together = dict(versions)
        forced = {
            key: how.force if self._fails(key, version, self._beside(key, together), how) else None
            for key, version in versions
        }
        return [self._record(key, version, replace(how, force=forced[key]), "activate") for key, version in versions]

    def rollback(self, key: PackKey, comment: str | None = None) -> int:
        """Bring the version back that was in force before the one that is; the version.

        Its tests are not asked: it was in force already. Raises NotPossibleError, DoesNotFitError.
        """
        self._lock([key])
        before = version_before(self.history(key), self._now)
        if before is None:
            raise NotPossibleError(f"{key} has no version that was in force before the one that is")
        self._fitting(key, before, self.pairs.pair(key, before))
        self._record(key, before, Instruction(comment=comment), "rollback")
        return before

    def withdraw(self, key: PackKey, comment: str | None = None) -> list[int]:
        """Take back every activation of the pack that is still to come; their versions. Raises NotPossibleError."""
        self._lock([key])
        coming = scheduled(self.pairs.schedule().of(key.kind, key.name), self._now)
        if not coming:
            raise NotPossibleError(f"nothing of {key} is scheduled")
        for one in coming:
            stored.withdraw_activation(
                self._transaction, self._tenant_id, key.kind, key.name, one, self._now, self._by, comment
            )
        return [one.version for one in coming]

    def history(self, key: PackKey) -> list[HistoryEntry]:
        """What was activated when, by whom and why, oldest first."""
        return history_of(self._transaction, self._tenant_id, key.kind, key.name)

    def keep_report(self, key: PackKey, version: int, report: str, document: Json) -> None:
        """Keep a test's or a backtest's report with its version, in place of the one before."""
        stored.keep_report(
            self._transaction,
            self._tenant_id,
            stored.ReportKey(key.kind, key.name, version, report),
            document,
            self._now,
            self._by,
        )

    def missing_variables(self, document: Json) -> list[str]:
        """Variables in endpoints that the operator has given no value."""
        return sorted(placeholders(document).keys() - self._variables.keys())

    def _fails(self, key: PackKey, version: int, other: int | None, how: Instruction) -> bool:
        """Whether a case fails, and there is a reason to go on all the same. Raises TestsFailError."""
        pair = self.pairs.pair(key, version, other, how.at)
        self._fitting(key, version, pair)
        results = pair.test(self._now)
        self.keep_report(key, version, "test", report_of(pair, results))
        failed = [result for result in results if not result.passed]
        if failed and how.force is None:
            raise TestsFailError(key, version, failed)
        return bool(failed)

    def _fitting(self, key: PackKey, version: int, pair: Pair) -> None:
        try:
            pair.pack_set(self._tenant_id)
        except PackInvalidError as error:
            raise DoesNotFitError(key, version, error.faults) from error

    def _record(self, key: PackKey, version: int, how: Instruction, action: str) -> int:
        return stored.activate_pack(
            self._transaction,
            self._tenant_id,
            key.kind,
            key.name,
            version,
            self._now,
            at=how.at,
            by=self._by,
            action=action,
            comment=how.comment,
            forced=how.force,
        )

    def _beside(self, key: PackKey, together: Mapping[PackKey, int]) -> int | None:
        """The version of the other pack that is activated in the same call."""
        return next((version for other, version in together.items() if other.kind is not key.kind), None)

    def _lock(self, keys: Sequence[PackKey]) -> None:
        """Always the tenant pack first: a domain and a tenant pack activated at once are judged one after the other."""
        stored.lock_pack(self._transaction, self._tenant_id, PackKind.TENANT, TENANT_PACK)
        for name in sorted(key.name for key in keys if key.kind is PackKind.DOMAIN):
            stored.lock_pack(self._transaction, self._tenant_id, PackKind.DOMAIN, name)
