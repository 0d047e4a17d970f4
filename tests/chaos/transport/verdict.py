"""The judge: loads the journals of a run into SQLite and asks its questions in SQL (verdict.sql)."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.transport.conduct import Run
from tests.chaos.transport.journal import Record, read
from tests.chaos.transport.plan import SESSION_SECONDS, Kind, Scale

_SCHEMA = Path(__file__).with_name("verdict.sql")
COMMIT_PATIENCE = 5.0
"""Done for longer than this, a message is committed: fifty commit intervals, for a machine that stands still."""
_SESSION_PATIENCE = 2 * SESSION_SECONDS
"""How long a process may believe itself a member of a group that does not hear it."""
_DRAIN_PATIENCE = 0.8
"""Work that takes longer may still be under way when its partition has left (`revoke_drain` is 1 s)."""

_RUNS = """
INSERT INTO run
SELECT g.key, g.seq, row_number() OVER (PARTITION BY g.key, g.seq ORDER BY g.at), g.who, g.at,
    (SELECT min(d.at) FROM done d WHERE d.key = g.key AND d.seq = g.seq AND d.who = g.who AND d.at >= g.at),
    g.part, g.place, g.redelivered
FROM got g
"""


@dataclass(frozen=True)
class FaultLine:
    """A row of the report: one kind of fault."""

    kind: str
    count: int
    recovery_median: float
    recovery_worst: float
    in_flight: int


@dataclass(frozen=True)
class Verdict:
    """What the journals say."""

    seed: int
    messages: int
    """What was to be published."""
    sent: int
    """What was published and confirmed."""
    runs: int
    lost: int
    invented: int
    out_of_order: int
    overtaking: int
    reruns: dict[str, int]
    """Messages handed out again, by reason."""
    bound: int
    """What was in flight at the faults, all together."""
    unflagged: int
    """Second deliveries that did not say so."""
    expelled: int
    """How often a group took a process for dead, rightly or not."""
    hung: int
    """Processes that did not end when told to."""
    lag: int
    faults: tuple[FaultLine, ...]
    seconds: float

    @property
    def again(self) -> int:
        """Messages handed out again."""
        return sum(self.reruns.values())

    @property
    def violations(self) -> tuple[str, ...]:
        """Promises that were broken, as sentences."""
        broken = {
            f"only {self.sent} of {self.messages} messages could be published": self.sent != self.messages,
            f"{self.lost} confirmed messages were never finished": self.lost,
            f"{self.invented} messages came that nobody published": self.invented,
            f"{self.out_of_order} messages overtook their predecessor of the same key": self.out_of_order,
            f"{self.overtaking} messages were handed out before their predecessor was done": self.overtaking,
            f"{self.reruns.get('AFTER ITS COMMIT', 0)} messages ran again after their commit": self.reruns.get(
                "AFTER ITS COMMIT", 0
            ),
            f"{self.again} messages ran again, and only {self.bound} were in flight at the faults": self.again
            > self.bound,
            f"{self.hung} processes did not end when told to": self.hung,
            f"{self.lag} messages are unfinished in Kafka's view": self.lag,
        }
        return tuple(sentence for sentence, is_broken in broken.items() if is_broken)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        return {**asdict(self), "again": self.again, "violations": self.violations}


def judge(scale: Scale, run: Run, patience: float = COMMIT_PATIENCE) -> Verdict:
    """Judge a run. The database stays beside its journals, as evidence."""
    path = run.folder / "verdict.sqlite"
    path.unlink(missing_ok=True)
    database = sqlite3.connect(path)
    try:
        load(database, run.folder / "journals", patience)
        return _ask(database, scale, run)
    finally:
        database.close()


def load(database: sqlite3.Connection, journals: Path, patience: float = COMMIT_PATIENCE) -> None:
    """Fill the tables from a folder of journals."""
    database.executescript(_SCHEMA.read_text(encoding="utf-8"))
    database.execute("INSERT INTO patience VALUES (?, ?, ?)", (patience, _DRAIN_PATIENCE, _SESSION_PATIENCE))
    for record in read(journals):
        _insert(database, record)
    database.execute(_RUNS)
    database.commit()


def _insert(database: sqlite3.Connection, record: Record) -> None:
    match record.kind:
        case "sent":
            database.execute("INSERT INTO sent VALUES (?, ?, ?, ?)", (record.at, *record.fields))
        case "again":
            database.execute("INSERT INTO again VALUES (?, ?)", record.fields)
        case "got":
            database.execute("INSERT INTO got VALUES (?, ?, ?, ?, ?, ?, ?)", (record.who, record.at, *record.fields))
        case "done":
            database.execute("INSERT INTO done VALUES (?, ?, ?, ?)", (record.who, record.at, *record.fields))
        case "expelled":
            database.execute("INSERT INTO expelled VALUES (?, ?)", (record.at, record.who))
        case "hung":
            database.execute("INSERT INTO hung VALUES (?, ?)", (record.at, *record.fields))
        case "fault":
            kind, who, lasts = record.fields
            ended = record.at + float(lasts)
            database.execute("INSERT INTO fault VALUES (?, ?, ?, ?)", (record.at, ended, kind, who))


def _ask(database: sqlite3.Connection, scale: Scale, run: Run) -> Verdict:
    def count(what: str) -> int:
        return int(database.execute(f"SELECT count(*) FROM {what}").fetchone()[0])

    reruns = database.execute("SELECT reason, count(*) FROM rerun GROUP BY reason ORDER BY 2 DESC").fetchall()
    (bound,) = database.execute("SELECT coalesce(sum(messages), 0) FROM in_flight").fetchone()
    return Verdict(
        seed=scale.seed,
        messages=scale.messages,
        sent=count("sent"),
        runs=count("run"),
        lost=count("lost"),
        invented=count("invented"),
        out_of_order=count("out_of_order"),
        overtaking=count("overtaking"),
        reruns=dict(reruns),
        bound=bound,
        unflagged=count("rerun WHERE flag = 0"),
        expelled=count("expelled"),
        hung=count("hung"),
        lag=run.lag,
        faults=tuple(_fault_lines(database)),
        seconds=round(run.seconds, 1),
    )


def _fault_lines(database: sqlite3.Connection) -> list[FaultLine]:
    lines = []
    for kind in Kind:
        found = database.execute("SELECT seconds FROM recovery WHERE kind = ? ORDER BY 1", (kind.name,)).fetchall()
        if found:
            times = [seconds for (seconds,) in found]
            (risked,) = database.execute("SELECT sum(messages) FROM in_flight WHERE kind = ?", (kind.name,)).fetchone()
            lines.append(FaultLine(kind.value, len(times), round(median(times), 2), round(times[-1], 2), risked))
    return lines
