"""This process's copy of the shared bindings: how old it may be, and what happens when others change them too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import pytest

from service.transport.bindings.log import MISSING, Extent
from service.transport.bindings.shared import SharedBindings
from service.transport.bindings.table import Binding, Change, exchange_of, present
from service.transport.channels.refusals import NotFound, PreconditionFailed
from service.transport.counters import Counters
from service.transport.errors import ConnectionFailed

EVENTS = exchange_of("events", "topic")
BOUND = Binding("events", "a.#", "q")


class FakeLog:
    """A topic in memory, which several processes share."""

    def __init__(self) -> None:
        self.records: list[Change] = []
        self.identity = "first"
        self.away = False
        self.before_append: Callable[[], None] | None = None
        self.before_extent: Callable[[], None] | None = None

    def extent(self) -> Extent:
        if self.before_extent is not None:
            self.before_extent()
        if self.away:
            raise ConnectionFailed("nobody answers")
        return Extent(self.identity, len(self.records)) if self.records else MISSING

    def read(self, start: int, end: int) -> list[Change]:
        assert 0 <= start < end <= len(self.records)
        return self.records[start:end]

    def append(self, changes: Iterable[Change]) -> None:
        hook, self.before_append = self.before_append, None
        if hook is not None:
            hook()
        self.records += changes


class World:
    """Processes over one log, and a clock that moves by hand."""

    def __init__(self) -> None:
        self.log = FakeLog()
        self.now = 100.0
        self.counters: list[Counters] = []

    def process(self, max_age: float = 1.0, patience: float = 30.0) -> SharedBindings:
        self.counters.append(Counters())
        return SharedBindings(self.log, self.counters[-1], max_age, patience, clock=self.tick)

    def tick(self) -> float:
        self.now += 1e-6
        return self.now

    def count(self, name: str, process: int = 0) -> int:
        return self.counters[process].snapshot().get(name, 0)


def routed(process: SharedBindings, routing_key: str = "a.1") -> list[str]:
    return [route.queue for route in process.route("events", routing_key)]


def test_what_one_process_declares_another_routes_by() -> None:
    world = World()
    one, other = world.process(), world.process()
    assert routed(other) == []
    one.declare(EVENTS)
    one.bind(BOUND)
    # when the other's copy is as old as it may be
    assert routed(other) == []
    world.now += 1.1
    # then it is checked
    assert routed(other) == ["q"]
    one.unbind(BOUND)
    world.now += 1.1
    assert routed(other) == []


def test_a_thousand_messages_within_the_age_cost_one_check_and_one_read() -> None:
    world = World()
    world.log.records = [present(EVENTS), present(BOUND)]
    process = world.process()
    for number in range(1000):
        assert routed(process, f"a.{number}") == ["q"]
    assert (world.count("bindings_checks"), world.count("bindings_reads")) == (1, 1)
    # and while nothing changes, later checks read nothing
    world.now += 5
    assert routed(process) == ["q"]
    assert (world.count("bindings_checks"), world.count("bindings_reads")) == (2, 1)


def test_the_age_counts_from_the_beginning_of_a_check() -> None:
    # given a check that takes almost as long as a copy may be old
    world = World()
    process, other = world.process(), world.process()
    other.declare(EVENTS)
    slowly = iter([0.9])

    def take_time() -> None:
        world.now += next(slowly, 0.0)

    world.log.before_extent = take_time
    assert routed(process) == []
    other.bind(BOUND)
    # when a little more time has passed
    world.now += 0.2
    # then what it found at its beginning is too old
    assert routed(process) == ["q"]


def test_declaring_again_writes_nothing() -> None:
    world = World()
    for process in (world.process(), world.process()):
        for _ in range(3):
            process.declare(EVENTS)
            process.bind(BOUND)
    assert len(world.log.records) == 2


def test_own_records_need_not_be_read() -> None:
    world = World()
    process = world.process()
    process.declare(EVENTS)
    process.bind(BOUND)
    assert routed(process) == ["q"]
    assert world.count("bindings_reads") == 0


def test_records_of_others_between_own_ones_are_not_missed() -> None:
    # given a process that binds while another does
    world = World()
    one, other = world.process(), world.process()
    one.declare(EVENTS)
    world.log.before_append = lambda: other.bind(Binding("events", "#", "theirs"))
    one.bind(BOUND)
    # then both know both
    assert routed(one) == ["q", "theirs"]
    world.now += 1.1
    assert routed(other) == ["q", "theirs"]


def test_a_check_of_another_thread_amid_a_write_hides_nothing() -> None:
    # given a thread that routes after the record of another thread was stored, and before that knows of it
    world = World()
    process, other = world.process(), world.process()
    process.declare(EVENTS)
    append = world.log.append

    def append_and_be_read(changes: Iterable[Change]) -> None:
        append(changes)
        process.check()
        world.log.append = append  # type: ignore[method-assign]  # once only
        other.bind(Binding("events", "#", "theirs"))

    world.log.append = append_and_be_read  # type: ignore[method-assign]  # stands for the race
    process.bind(BOUND)
    assert routed(process) == ["q", "theirs"]


def test_an_exchange_that_is_another_one_already_is_refused() -> None:
    world = World()
    one, other = world.process(), world.process()
    one.declare(EVENTS)
    with pytest.raises(PreconditionFailed, match=r"'events' is topic, not direct") as refused:
        other.declare(exchange_of("events", "direct"))
    assert refused.value.reply_code == 406
    assert len(world.log.records) == 1


def test_how_long_an_exchange_shall_live_makes_no_difference() -> None:
    world = World()
    one, other = world.process(), world.process()
    one.declare(EVENTS)
    other.declare(exchange_of("events", "topic", durable=False, auto_delete=True))
    assert len(world.log.records) == 1


def test_of_two_that_declare_at_once_the_first_wins_and_the_log_says_so_in_the_end() -> None:
    # given two processes that both saw no such exchange
    world = World()
    one, other = world.process(), world.process()
    world.log.before_append = lambda: one.declare(EVENTS)
    # when the slower one comes second
    with pytest.raises(PreconditionFailed):
        other.declare(exchange_of("events", "direct"))
    # then the newest record, which is what compaction keeps, is the first one's
    assert world.log.records[-1] == present(EVENTS)
    for process in (one, other, world.process()):
        world.now += 1.1
        process.check()
        assert process.exchange("events") == EVENTS


def test_binding_to_an_exchange_nobody_declared_is_not_found() -> None:
    world = World()
    process = world.process()
    with pytest.raises(NotFound, match="events"):
        process.bind(BOUND)
    process.declare(EVENTS)
    assert routed(process) == []


def test_a_deleted_exchange_takes_its_bindings_along_also_one_made_meanwhile() -> None:
    # given an exchange that one process deletes while another binds to it
    world = World()
    one, other = world.process(), world.process()
    one.declare(EVENTS)
    one.bind(BOUND)
    world.log.before_append = lambda: other.bind(Binding("events", "#", "late"))
    one.delete("events")
    # when somebody declares it again
    other.declare(EVENTS)
    # then it has no bindings
    assert routed(other) == []
    assert one.bindings() == []


def test_a_deleted_queue_leaves_no_binding() -> None:
    world = World()
    process = world.process()
    process.declare(EVENTS)
    process.bind(BOUND)
    process.bind(Binding("events", "b", "q"))
    process.bind(Binding("events", "b", "other"))
    process.forget_queue("q")
    assert [binding.queue for binding in process.bindings()] == ["other"]


def test_while_the_cluster_is_away_the_copy_serves_for_a_while_and_this_is_counted() -> None:
    # given a process that knows its bindings
    world = World()
    process = world.process(max_age=1.0, patience=30.0)
    process.declare(EVENTS)
    process.bind(BOUND)
    # when the cluster goes away
    world.log.away = True
    world.now += 5
    assert routed(process) == ["q"]
    assert routed(process) == ["q"]
    # then it asked once, said so, and does not ask for every message
    assert world.count("bindings_unchecked") == 1
    # and after a while the failure is the answer
    world.now += 30
    with pytest.raises(ConnectionFailed, match="nobody answers"):
        routed(process)
    # until the cluster is back
    world.log.away = False
    assert routed(process) == ["q"]


def test_a_process_that_has_read_nothing_yet_does_not_guess() -> None:
    world = World()
    world.log.away = True
    with pytest.raises(ConnectionFailed):
        routed(world.process())


def test_nothing_is_declared_by_an_unchecked_copy() -> None:
    world = World()
    process = world.process()
    process.declare(EVENTS)
    world.log.away = True
    with pytest.raises(ConnectionFailed):
        process.declare(EVENTS)


def test_a_log_made_anew_is_read_from_its_beginning() -> None:
    # given a process that has read a log to its end
    world = World()
    process = world.process()
    process.declare(EVENTS)
    process.bind(BOUND)
    # when the topic is made anew, and is as long as the old one
    world.log.identity = "second"
    world.log.records = [present(EVENTS), present(Binding("events", "#", "new"))]
    world.now += 1.1
    # then nothing of the old one is left
    assert routed(process) == ["new"]


def test_a_log_that_lost_its_end_is_read_from_its_beginning() -> None:
    world = World()
    process = world.process()
    process.declare(EVENTS)
    process.bind(BOUND)
    world.log.records = [present(EVENTS)]
    world.now += 1.1
    assert routed(process) == []


def test_a_broker_that_does_not_know_the_topic_for_a_moment_is_not_believed() -> None:
    # given bindings, and a broker that has just started
    world = World()
    process = world.process()
    process.declare(EVENTS)
    process.bind(BOUND)
    kept, world.log.records = world.log.records, []
    world.now += 1.1
    # then the copy serves; it is doubtful, and counted as such
    assert routed(process) == ["q"]
    assert world.count("bindings_unchecked") == 1
    # when the broker knows its topics again, all is as before
    world.log.records = kept
    world.now += 1.1
    assert routed(process) == ["q"]
    # but a topic that stays away is believed to be gone
    world.log.records = []
    for _ in range(12):
        world.now += 1.1
        process.route("events", "a.1")
    assert routed(process) == []


def test_a_deletion_that_compaction_has_swallowed_is_noticed() -> None:
    # given a process that looked on long ago, and a binding whose deletion the log does not tell any more
    world = World()
    process = world.process()
    process.declare(EVENTS)
    process.bind(BOUND)
    world.now += 86_400
    world.log.records = [present(EVENTS), present(EVENTS), present(EVENTS)]
    # then it reads everything again
    assert routed(process) == []


def test_records_it_does_not_know_are_counted_and_skipped() -> None:
    world = World()
    world.log.records = [present(EVENTS), (b'["future"]', b"{}"), present(BOUND)]
    process = world.process()
    assert routed(process) == ["q"]
    assert world.count("bindings_skipped") == 1


def test_threads_that_come_together_share_one_check() -> None:
    # given a check that is under way, slowly
    world = World()
    world.log.records = [present(EVENTS), present(BOUND)]
    process, found = world.process(), list[list[str]]()
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert go_on.wait(20)

    world.log.before_extent = wait
    threads = [threading.Thread(target=lambda: found.append(routed(process))) for _ in range(5)]
    threads[0].start()
    assert entered.wait(20)
    # when other threads need it too
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    # then all have the right answer, after as many checks as were begun once they had asked
    assert found == [["q"]] * 5
    assert world.count("bindings_checks") <= 2
