"""The judge notices what it is there for: a run in which all is well, and what becomes of it when one thing is not."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.chaos.transport.conduct import Run
from tests.chaos.transport.plan import PLAIN_QUEUE, Scale, faults, shares
from tests.chaos.transport.producer import batches
from tests.chaos.transport.verdict import Verdict, judge, load

SCALE = Scale(seed=1, messages=2, consumers=2, seconds=60.0)
GOOD = {
    "producer0": [("sent", 1.0, PLAIN_QUEUE, "k", 0), ("sent", 1.0, PLAIN_QUEUE, "k", 1)],
    "plain0.1": [
        ("got", 2.0, 0, 10, "k", 0, 0),
        ("done", 2.1, "k", 0),
        ("got", 2.2, 0, 11, "k", 1, 0),
        ("done", 2.3, "k", 1),
    ],
}
Lines = list[tuple[object, ...]]


def verdict_of(folder: Path, journals: dict[str, Lines], lag: int = 0) -> Verdict:
    (folder / "journals").mkdir()
    for who, lines in journals.items():
        text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
        (folder / "journals" / who).write_text(text, encoding="utf-8")
    return judge(SCALE, Run(folder, lag, 1.0))


def test_a_good_run_breaks_nothing(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, GOOD)
    assert (verdict.sent, verdict.runs, verdict.again, verdict.violations) == (2, 2, 0, ())


def test_what_is_not_finished_is_lost(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, {**GOOD, "plain0.1": GOOD["plain0.1"][:3]})
    assert verdict.lost == 1 and "never finished" in verdict.violations[0]


def test_a_message_before_its_predecessor_is_out_of_order(tmp_path: Path) -> None:
    swapped = [("got", 2.0, 0, 11, "k", 1, 0), ("done", 2.1, "k", 1), *GOOD["plain0.1"][2:3], ("done", 2.3, "k", 0)]
    swapped[2] = ("got", 2.2, 0, 10, "k", 0, 0)
    verdict = verdict_of(tmp_path, {**GOOD, "plain0.1": swapped})
    assert (verdict.out_of_order, verdict.overtaking) == (1, 1)


def test_two_of_a_key_at_a_time_is_overtaking(tmp_path: Path) -> None:
    both = [GOOD["plain0.1"][0], ("got", 2.05, 0, 11, "k", 1, 0), *GOOD["plain0.1"][1::2]]
    verdict = verdict_of(tmp_path, {**GOOD, "plain0.1": both})
    assert (verdict.out_of_order, verdict.overtaking) == (0, 1)


def test_what_was_committed_may_not_run_again(tmp_path: Path) -> None:
    again: Lines = [("got", 9.0, 0, 11, "k", 1, 1), ("done", 9.1, "k", 1)]
    verdict = verdict_of(tmp_path, {**GOOD, "plain1.1": again})
    assert verdict.reruns == {"AFTER ITS COMMIT": 1}
    assert any("after their commit" in sentence for sentence in verdict.violations)


@pytest.mark.parametrize(
    ("killed_at", "reason"), [(2.5, "its process was killed before it committed"), (8.0, "AFTER ITS COMMIT")]
)
def test_a_kill_explains_what_was_done_just_before(tmp_path: Path, killed_at: float, reason: str) -> None:
    again: Lines = [("got", 9.0, 0, 11, "k", 1, 1), ("done", 9.1, "k", 1)]
    kill: Lines = [("fault", killed_at, "KILL", "plain0.1", 1.0)]
    verdict = verdict_of(tmp_path, {**GOOD, "plain1.1": again, "events": kill})
    assert verdict.reruns == {reason: 1}


def test_a_half_written_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "journals").mkdir()
    (tmp_path / "journals" / "plain0.1").write_text("got\t1.0\t0\t1\tk\t0\t0\ngot\t1.", encoding="utf-8")
    database = sqlite3.connect(tmp_path / "db")
    load(database, tmp_path / "journals")
    assert database.execute("SELECT count(*) FROM run").fetchone() == (1,)
    database.close()


def test_a_seed_decides_everything() -> None:
    scale = Scale(seed=7, messages=1000, consumers=8, seconds=300.0, brokers=3)
    assert faults(scale) == faults(scale)
    assert {fault.kind.name for fault in faults(scale)} == {
        *("KILL", "TERM", "PAUSE", "FREEZE", "KILL_CHILD", "KILL_BROKER")
    }
    assert sum(share.messages for share in shares(scale)) == 1000
    [one, two] = [list(batches(5, 95, ["a", "b"])) for _ in range(2)]
    assert one == two and sum(map(len, one)) == 95
    # and no slot is hit again while it is down
    down: dict[str, float] = {}
    for fault in faults(scale):
        slot = "brokers" if fault.slot.startswith("broker") else fault.slot
        assert down.get(slot, 0.0) < fault.at
        down[slot] = fault.at + fault.lasts
