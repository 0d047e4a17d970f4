"""An example's state, and the comparison of database and book after each of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from hypothesis.stateful import RuleBasedStateMachine, invariant

from service.engine.batch import Reference
from service.persistence.queries import ledger_of
from service.persistence.unit_of_work import unit_of_work
from tests.integration.model.book import Book, BrokenLawError, Touch
from tests.integration.model.parts import Parts
from tests.integration.model.snapshot import seen_of_strangers, take
from tests.integration.model.world import Message, World
from tests.tenants import TestTenant


class Compared(RuleBasedStateMachine):
    """One example that nothing happens to."""

    def __init__(
        self,
        parts: Parts,
        tenants: Sequence[TestTenant],
        counted: Counter[str],
        ends: Counter[str],
        began: datetime,
    ) -> None:
        super().__init__()
        self.parts, self.tenants, self.counted, self.ends = parts, tenants, counted, ends
        self.began = began
        self.book = Book()
        self.world = World(parts, self._called)
        self.history: list[Message] = []
        self.touches: dict[UUID, Touch] = {}
        self.example, self.keys = uuid4().hex, 0
        self.clean = False
        """It came to its end, and left nothing that another example could meet."""

    # What holds after every step

    @invariant()
    def laws(self) -> None:
        """L1 to L5, L7 and L8."""
        self._look()

    def _look(self) -> None:
        """Compare, and forget what was touched."""
        touches, self.touches = self.touches, {}
        if not self.book.subjects:
            return
        with unit_of_work(self.parts.system) as transaction:
            self.book.look(take(transaction, self.book.positions()), touches)
            self._ledgers(transaction)
        self._strangers()

    def _ledgers(self, transaction: Any) -> None:
        accepted = Counter(one.tenant_id for one in self.book.subjects.values())
        for tenant in self.tenants:
            ledger = ledger_of(transaction, tenant.tenant_id)
            new = ledger.accepted - self.before[tenant.tenant_id]
            if not ledger.balanced or new != accepted[tenant.tenant_id]:
                raise BrokenLawError(f"L8 ledger: {ledger} of {accepted[tenant.tenant_id]} accepted")

    def _strangers(self) -> None:
        for tenant in self.tenants:
            others = [s.exception_id for s in self.book.subjects.values() if s.tenant_id != tenant.tenant_id]
            with unit_of_work(self.parts.application, [tenant.tenant_id]) as transaction:
                seen = seen_of_strangers(transaction, others) if others else 0
            if seen:
                raise BrokenLawError(f"L7 tenants: {tenant.tenant_id} sees {seen} rows of others")

    def _all_touched(self, touch: Touch) -> None:
        for exception_id in self.book.subjects:
            self.touches[exception_id] = touch

    def _called(self, reference: Reference) -> str:
        subject = self.book.subjects.get(reference.exception_id)
        stranger = "" if subject is None or subject.tenant_id == reference.tenant_id else " forged"
        return f"{subject.name if subject else '?'}#{reference.sequence}{stranger}"

    def _counted(self, what: str) -> None:
        self.counted[what] += 1
