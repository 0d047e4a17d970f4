"""The offset ledger: in words, and for every order in which work can arrive, finish, and be interrupted."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.transport.consuming import offsets
from service.transport.consuming.assignments import Assignment
from service.transport.consuming.offsets import METADATA_LIMIT, Islands, Ledger, read_islands


def test_only_what_is_finished_without_a_gap_may_be_committed() -> None:
    # given three messages, of which the first is still being worked
    ledger = Ledger(committed=10)
    for offset in (10, 11, 12):
        ledger.receive(offset)
    # when those behind it finish
    ledger.finish(11)
    ledger.finish(12)
    # then a restart would begin at the first
    progress = ledger.progress()
    assert progress is not None
    assert progress.offset == 10


def test_what_finished_behind_a_long_task_is_not_run_again_after_a_crash() -> None:
    # given a long task at 10, and 11 and 12 finished behind it
    before = Ledger(committed=10)
    for offset in (10, 11, 12, 13):
        before.receive(offset)
    before.finish(11)
    before.finish(12)
    progress = before.progress()
    assert progress is not None
    # when the worker dies and another begins from the commit
    after = Ledger(progress.offset, progress.metadata)
    # then only the unfinished ones need work
    assert [offset for offset in (10, 11, 12, 13) if after.receive(offset)] == [10, 13]


def test_a_message_that_a_dead_worker_had_is_marked_as_redelivered() -> None:
    before = Ledger(committed=0)
    for offset in (0, 1, 2):
        before.receive(offset)
    before.hand_out(0)
    before.hand_out(1)
    progress = before.progress()
    assert progress is not None
    after = Ledger(progress.offset, progress.metadata)
    for offset in (0, 1, 2):
        after.receive(offset)
    assert [after.hand_out(offset) for offset in (0, 1, 2)] == [True, True, False]


def test_offsets_may_have_gaps() -> None:
    ledger = Ledger()
    ledger.receive(5)
    ledger.receive(9)
    ledger.finish(5)
    assert ledger.watermark == 9
    ledger.finish(9)
    assert ledger.watermark == 10


def test_a_second_acknowledgement_changes_nothing() -> None:
    ledger = Ledger(committed=0)
    ledger.receive(0)
    assert ledger.finish(0)
    assert not ledger.finish(0)


def test_metadata_of_others_is_no_island() -> None:
    for foreign in (None, "", "hello", "k1;", "k1;0;1", "k1;zz;1,2;3", "k2;0;1,1"):
        assert len(read_islands(7, foreign)) == 0


def test_metadata_stays_within_what_the_broker_takes() -> None:
    # given thousands of islands
    ledger = Ledger(committed=0)
    for offset in range(20_000):
        ledger.receive(offset)
    for offset in range(1, 20_000, 2):
        ledger.finish(offset)
    # then the commit names as many as fit, the lowest first
    progress = ledger.progress()
    assert progress is not None
    assert len(progress.metadata.encode()) <= METADATA_LIMIT
    islands = read_islands(progress.offset, progress.metadata)
    assert 1 in islands
    assert 500 < len(islands) < 10_000


def test_of_more_islands_than_fit_the_longest_are_kept() -> None:
    # given thousands of little gaps, and 100,000 finished behind them
    ledger = Ledger(committed=0)
    for offset in range(0, 6_000, 2):
        ledger.receive(offset)
    for offset in range(6_000, 106_000):
        ledger.receive(offset)
        ledger.finish(offset)
    ledger.receive(106_000)
    # when the worker dies
    progress = ledger.progress()
    assert progress is not None
    assert len(progress.metadata.encode()) <= METADATA_LIMIT
    islands = read_islands(progress.offset, progress.metadata)
    # then the 100,000 are not run again, and nothing open is taken for finished
    assert all(offset in islands for offset in (6_000, 60_000, 105_999))
    assert not any(offset in islands for offset in (*range(0, 6_000, 2), 106_000))


def test_a_task_that_is_out_for_very_long_costs_neither_memory_nor_time() -> None:
    # given one open message, and 100,000 that finish behind it while their commits are made
    ledger = Ledger(committed=0)
    ledger.receive(0)
    tracemalloc.start()
    for offset in range(1, 100_001):
        ledger.receive(offset)
        ledger.finish(offset)
        if offset % 100 == 0:
            progress = ledger.progress()
            assert progress is not None
            assert len(progress.metadata) < 20
    # then nothing was kept for them
    assert tracemalloc.get_traced_memory()[0] < 64 * 1024
    tracemalloc.stop()
    assert ledger.unfinished == 1


def test_an_island_that_is_half_passed_is_kept_whole() -> None:
    # given a commit that says: 0 is open, 1 to 3 are finished
    ledger = Ledger(committed=0)
    for offset in range(4):
        ledger.receive(offset)
    for offset in (1, 2, 3):
        ledger.finish(offset)
    before = ledger.progress()
    assert before is not None
    # when the next owner has come as far as the island's first offset, and hands over again
    heir = Ledger(before.offset, before.metadata)
    heir.receive(0)
    heir.receive(1)
    after = heir.progress()
    # then the rest of the island is not forgotten
    assert after is not None
    islands = read_islands(after.offset, after.metadata)
    assert [offset for offset in range(4) if offset in islands] == [1, 2, 3]


@settings(deadline=None)
@given(
    base=st.integers(0, 2**40),
    lengths=st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), max_size=50),
)
def test_islands_survive_the_way_through_metadata(base: int, lengths: list[tuple[int, int]]) -> None:
    ledger = Ledger(base)
    spans, at = [], base
    for unfinished, finished in lengths:
        spans.append((at + unfinished, at + unfinished + finished - 1))
        at += unfinished + finished
    # given open offsets exactly between the spans (gaps in offsets count as finished)
    edges = [base, *(last + 1 for _, last in spans)]
    for edge, (first, _) in zip(edges, spans, strict=False):
        for offset in {edge, first - 1}:
            if ledger._next is None or offset >= ledger._next:
                ledger.receive(offset)
    progress = ledger.progress()
    assert progress is not None
    islands = read_islands(progress.offset, progress.metadata)
    # then nothing open is taken for finished
    assert not any(offset in islands for offset in ledger._unfinished)
    assert isinstance(islands, Islands)


class LedgerModel(RuleBasedStateMachine):
    """A partition of a log, consumers that come and go, and what really was finished."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.end = 0
        self.finished: set[int] = set()
        self.committed: tuple[int, str] | None = None
        self.ledger = Ledger()
        self.position = 0
        self.open: set[int] = set()
        self.recorded: set[int] = set()

    @rule(gap=st.integers(0, 3))
    def produce(self, gap: int) -> None:
        self.end += gap
        self.log.append(self.end)
        self.end += 1

    @precondition(lambda self: any(offset >= self.position for offset in self.log))
    @rule()
    def poll(self) -> None:
        offset = min(offset for offset in self.log if offset >= self.position)
        self.position = offset + 1
        if self.ledger.receive(offset):
            self.open.add(offset)
            self.ledger.hand_out(offset)
        else:
            # only finished work is skipped
            assert offset in self.finished

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        self.open.discard(offset)
        assert self.ledger.finish(offset)
        self.finished.add(offset)
        self.recorded.add(offset)

    @rule()
    def commit(self) -> None:
        progress = self.ledger.progress()
        if progress is not None:
            self.committed = progress.offset, progress.metadata

    @rule()
    def crash_and_take_over(self) -> None:
        """Another consumer begins from the last commit; late acknowledgements are fenced elsewhere."""
        self.open.clear()
        self.recorded &= self.covered()
        self.ledger = Ledger(*self.committed) if self.committed else Ledger()
        self.position = self.committed[0] if self.committed else 0

    @rule()
    def leave_and_take_over(self) -> None:
        """A clean handover: nothing that this owner or a commit knew as finished is run again."""
        self.commit()
        assert self.recorded <= self.covered()
        self.crash_and_take_over()

    def covered(self) -> set[int]:
        """What the last commit says is finished."""
        if self.committed is None:
            return set()
        offset, metadata = self.committed
        islands = read_islands(offset, metadata)
        return {o for o in self.log if o < offset or o in islands}

    @invariant()
    def nothing_unfinished_is_below_the_watermark(self) -> None:
        watermark = self.ledger.watermark
        if watermark is not None:
            assert all(offset in self.finished for offset in self.log if offset < watermark)

    @invariant()
    def a_commit_never_covers_unfinished_work(self) -> None:
        assert self.covered() <= self.finished


TestLedgerModel = LedgerModel.TestCase
TestLedgerModel.settings = settings(deadline=None)


class AssignmentModel(RuleBasedStateMachine):
    """A partition that members of a group take from each other, with commits that fail and late acknowledgements.

    The broker keeps what was committed; metadata has room for a few islands only. Whatever happens, nothing unfinished
    may count as finished; and while commits succeed and fit, nothing finished is run again after a clean handover.
    """

    def __init__(self) -> None:
        super().__init__()
        self.end = 0
        self.finished: set[int] = set()
        self.broker: tuple[int | None, str] = (None, "")
        self.stale: list[tuple[Assignment, int]] = []
        self.limit, offsets.METADATA_LIMIT = offsets.METADATA_LIMIT, 24
        self.assign()

    def teardown(self) -> None:
        offsets.METADATA_LIMIT = self.limit

    def assign(self) -> None:
        self.owner = Assignment("jobs", 0, *self.broker)
        self.position = self.broker[0] or 0
        self.out: list[int] = []

    @rule(count=st.integers(1, 12))
    def produce(self, count: int) -> None:
        self.end += count

    @precondition(lambda self: self.position < self.end)
    @rule(count=st.integers(1, 12))
    def poll(self, count: int) -> None:
        for offset in range(self.position, min(self.end, self.position + count)):
            if self.owner.receive(offset):
                self.owner.hand_out(offset)
                self.out.append(offset)
            else:
                assert offset in self.finished, "unfinished work was skipped"
            self.position = offset + 1

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        offset = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        assert self.owner.finish(offset)
        assert not self.owner.finish(offset), "the second acknowledgement counts"
        self.finished.add(offset)

    @rule(succeeds=st.booleans())
    def commit(self, succeeds: bool) -> None:
        progress = self.owner.to_commit()
        if progress is None:
            return
        if succeeds:
            self.broker = progress.offset, progress.metadata
            assert self.owner.to_commit() is None, "the same is committed again and again"
        else:
            self.owner.commit_failed()
            assert self.owner.to_commit() == progress, "a commit that failed is forgotten"
            self.owner.commit_failed()

    @rule()
    def revoke_and_reassign(self) -> None:
        """A clean handover: the last commit succeeds, what is out comes back later and finds nothing."""
        progress = self.owner.to_commit()
        if progress is not None:
            self.broker = progress.offset, progress.metadata
        self.crash_and_reassign()

    @rule()
    def crash_and_reassign(self) -> None:
        """The session ends without a word; the process may go on, as a zombie."""
        self.owner.retire()
        self.stale += [(self.owner, offset) for offset in self.out]
        self.assign()

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def acknowledge_late(self, data: st.DataObject) -> None:
        before = self.owner.progress()
        owner, offset = self.stale.pop(data.draw(st.integers(0, len(self.stale) - 1)))
        assert not owner.finish(offset), "a late acknowledgement counts"
        assert self.owner.progress() == before

    @invariant()
    def nothing_unfinished_is_committed(self) -> None:
        committed, metadata = self.broker
        islands = read_islands(committed or 0, metadata)
        covered = {offset for offset in range(self.end) if offset < (committed or 0) or offset in islands}
        assert covered <= self.finished
        assert len(metadata) <= offsets.METADATA_LIMIT

    @invariant()
    def every_unfinished_message_is_out_or_still_to_come(self) -> None:
        assert set(range(self.end)) - self.finished <= {*self.out, *range(self.position, self.end)}


TestAssignments = AssignmentModel.TestCase
TestAssignments.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
