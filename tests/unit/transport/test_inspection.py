"""What counts as waiting: told by the log's bounds and what the group committed."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from service.transport.consuming.offsets import Ledger, Progress
from service.transport.consuming.tally import tally
from service.transport.inspection.inspector import PartitionReport, QueueReport


def committed_after(start: int, received: int, finished: set[int]) -> Progress:
    """What a consumer commits that began at ``start`` and finished some of what it received."""
    ledger = Ledger(start)
    for offset in range(start, start + received):
        ledger.receive(offset)
    for offset in finished:
        ledger.finish(offset)
    progress = ledger.progress()
    assert progress is not None
    return progress


def test_what_finished_behind_a_long_task_does_not_wait() -> None:
    # given ten messages, of which the first is still worked, and all others are finished
    commit = committed_after(0, 10, set(range(1, 10)))
    # when it is counted
    counted = tally(0, 10, commit)
    # then one waits
    assert (counted.first, counted.lag) == (0, 1)


def test_a_queue_that_nobody_consumed_waits_as_a_whole() -> None:
    counted = tally(5, 25, None)
    assert (counted.first, counted.lag, counted.committed) == (5, 20, None)


def test_what_retention_deleted_waits_no_longer() -> None:
    # given a group that stopped at 10 of 100, and a log that begins at 60 by now
    counted = tally(60, 100, Progress(10, ""))
    assert (counted.first, counted.lag) == (60, 40)


def test_the_oldest_is_the_first_unfinished_also_when_the_log_begins_within_an_island() -> None:
    # given that 3 to 7 are finished behind 2, and 2 was deleted with all before 5
    commit = committed_after(0, 10, {0, 1, 3, 4, 5, 6, 7})
    counted = tally(5, 10, commit)
    assert (counted.first, counted.lag) == (8, 2)


def test_a_topic_made_anew_waits_as_a_whole_whatever_was_committed_of_the_old_one() -> None:
    counted = tally(0, 3, Progress(500, ""))
    assert (counted.first, counted.lag) == (0, 3)


@given(
    low=st.integers(0, 30),
    start=st.integers(0, 30),
    received=st.integers(0, 30),
    behind=st.integers(0, 10),
    finished=st.sets(st.integers(0, 60)),
)
def test_the_count_is_what_is_in_the_log_and_not_finished(
    low: int, start: int, received: int, behind: int, finished: set[int]
) -> None:
    end = max(low, start + received + behind)
    commit = committed_after(start, received, finished)
    done = set(range(start)) | {offset for offset in finished if start <= offset < start + received}
    left = [offset for offset in range(low, end) if offset not in done]
    counted = tally(low, end, commit)
    assert counted.lag == len(left)
    assert counted.first == (left[0] if left else end)


def test_a_queue_is_as_old_as_its_oldest_partition_and_names_what_does_not_answer() -> None:
    def part(number: int, lag: int, day: int | None, problem: str = "") -> PartitionReport:
        oldest = datetime(2026, 1, day, tzinfo=UTC) if day else None
        return PartitionReport(number, 1, 0, None, lag, lag, oldest, f"slot-{number}@host", problem)

    report = QueueReport(
        "q", "q", "g.q", "stable", (part(0, 3, 5), part(1, 4, 2), part(2, 0, None, "its leader does not answer"))
    )
    assert report.lag == 7
    assert report.oldest == datetime(2026, 1, 2, tzinfo=UTC)
    assert report.owners == ("slot-0@host", "slot-1@host", "slot-2@host")
    assert report.problems == ("partition 2: its leader does not answer",)
