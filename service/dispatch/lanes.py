"""Leases on lanes: each lane is served by one dispatcher at a time, and a dead one's lanes are taken over."""

from __future__ import annotations

from sqlalchemy import Engine

from service.persistence.statements import dispatch as sql
from service.persistence.unit_of_work import unit_of_work


class LaneLeases:
    """The lanes this dispatcher holds. Times are PostgreSQL's, so the clocks of the hosts do not matter."""

    def __init__(self, engine: Engine, holder: str, lease_seconds: float) -> None:
        self._engine = engine
        self._holder = holder
        self._seconds = lease_seconds

    def ensure(self, lanes: int) -> None:
        """Create the lanes of this installation; lanes beyond the number (from before) stay and are served."""
        with unit_of_work(self._engine) as transaction:
            transaction.run(sql.ENSURE_LANES, {"lanes": lanes})

    def renew(self) -> frozenset[int]:
        """Renew, give up what exceeds the fair share, take free lanes up to it; the lanes held now."""
        mine = {"holder": self._holder, "seconds": self._seconds}
        with unit_of_work(self._engine) as transaction:
            transaction.run(sql.ATTEND, mine)
            share = transaction.rows(sql.FAIR_SHARE)[0].lanes
            renewed = transaction.rows(sql.RENEW, {**mine, "share": share})
            held = {row.lane for row in renewed if row.holder is not None}
            if len(held) < share:
                claimed = transaction.rows(sql.CLAIM, {**mine, "wanted": share - len(held)})
                held |= {row.lane for row in claimed}
        return frozenset(held)

    def release(self) -> None:
        """Give every lane up at once, so that a stopping dispatcher leaves no gap."""
        with unit_of_work(self._engine) as transaction:
            transaction.run(sql.RELEASE, {"holder": self._holder})
