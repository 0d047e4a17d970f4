"""The inbox: order per key, turns between queues, bounds, and fencing of what left."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.transport.consuming.assignments import Assignment
from service.transport.consuming.inbox import Held, Inbox
from service.transport.counters import Counters
from service.transport.options import Options
from service.transport.records import Arrival
from service.transport.wakeup import Wakeup


class Partition:
    """One assigned partition, and an inbox to fill from it."""

    def __init__(self, inbox: Inbox, topic: str = "triage", number: int = 0) -> None:
        self.inbox = inbox
        self.assignment = Assignment(topic, number, 0, None)
        self.next = 0

    def arrive(self, key: str | None, value: bytes = b"body") -> int:
        offset, self.next = self.next, self.next + 1
        assert self.assignment.receive(offset)
        arrival = Arrival(
            self.assignment.topic, self.assignment.partition, offset, key.encode() if key else None, value, []
        )
        self.inbox.accept(self.assignment, arrival)
        return offset

    @property
    def watermark(self) -> int:
        progress = self.assignment.progress()
        assert progress is not None
        return progress.offset


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


def inbox_with(wakeup: Wakeup, **options: object) -> Inbox:
    return Inbox(Options(**options), wakeup, Counters())  # type: ignore[arg-type]  # options by name


def take_all(inbox: Inbox) -> list[Held]:
    taken = []
    while (held := inbox.take(lambda topic: True)) is not None:
        taken.append(held)
    return taken


def offsets(held: list[Held]) -> list[int]:
    return [one.arrival.offset for one in held]


def test_one_key_has_one_message_out_at_a_time(wakeup: Wakeup) -> None:
    # given three messages of one exception and one of another
    inbox = inbox_with(wakeup)
    partition = Partition(inbox)
    for key in ("a", "a", "b", "a"):
        partition.arrive(key)
    # when the worker asks for everything
    out = take_all(inbox)
    # then it gets the first of each, and the next of a key only after the one before is finished
    assert offsets(out) == [0, 2]
    inbox.finish(out[0].tag)
    assert offsets(take_all(inbox)) == [1]


def test_with_ordering_by_partition_only_one_of_a_partition_is_out(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup, ordering="partition")
    partition = Partition(inbox)
    for key in ("a", "b"):
        partition.arrive(key)
    assert offsets(take_all(inbox)) == [0]


def test_without_ordering_everything_is_out(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup, ordering="none")
    partition = Partition(inbox)
    for key in ("a", "a", "a"):
        partition.arrive(key)
    assert offsets(take_all(inbox)) == [0, 1, 2]


def test_messages_without_a_key_do_not_wait_for_one_another(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup)
    partition = Partition(inbox)
    partition.arrive(None)
    partition.arrive(None)
    assert offsets(take_all(inbox)) == [0, 1]


def test_a_long_queue_does_not_delay_a_short_one(wakeup: Wakeup) -> None:
    # given a backlog in one queue and one message in another
    inbox = inbox_with(wakeup)
    backlog, other = Partition(inbox, "intake"), Partition(inbox, "tool")
    for _ in range(50):
        backlog.arrive(None)
    other.arrive(None)
    # then it is among the first two handed out
    first = [inbox.take(lambda topic: True) for _ in range(2)]
    assert "tool" in {held.topic for held in first if held is not None}


def test_a_requeued_message_comes_back_first_and_is_marked(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup)
    partition = Partition(inbox)
    partition.arrive("a")
    partition.arrive("a")
    [first] = take_all(inbox)
    inbox.put_back(first.tag)
    [again] = take_all(inbox)
    assert again.arrival.offset == 0
    assert again.redelivered
    assert partition.watermark == 0


def test_an_acknowledgement_moves_the_watermark(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup)
    partition = Partition(inbox)
    partition.arrive("a")
    [held] = take_all(inbox)
    inbox.finish(held.tag)
    assert partition.watermark == 1


def test_an_acknowledgement_after_the_partition_left_is_fenced(wakeup: Wakeup) -> None:
    # given a message that is out when its partition is taken away and given back
    counters = Counters()
    inbox = Inbox(Options(), wakeup, counters)
    before = Partition(inbox)
    before.arrive("a")
    [held] = take_all(inbox)
    before.assignment.retire()
    inbox.left([before.assignment])
    after = Partition(inbox)
    after.arrive("a")
    # when the old delivery is acknowledged at last
    inbox.finish(held.tag)
    # then neither the old nor the new assignment counts it as done
    assert before.watermark == 0
    assert after.watermark == 0
    assert counters.snapshot()["acks_fenced"] == 1
    assert offsets(take_all(inbox)) == [0]


def test_a_partition_that_leaves_waits_for_what_is_out_but_hands_out_nothing_more(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup)
    partition = Partition(inbox)
    partition.arrive("a")
    partition.arrive("b")
    held = inbox.take(lambda topic: True)
    assert held is not None
    threading.Timer(0.05, inbox.finish, [held.tag]).start()
    began = time.monotonic()
    inbox.leaving([partition.assignment], patience=60)
    assert time.monotonic() - began < 30
    assert partition.watermark == 1
    assert take_all(inbox) == []


@pytest.mark.parametrize(
    ("options", "messages"), [({"buffer_messages": 4}, [b"x"] * 4), ({"buffer_bytes": 100}, [b"x" * 25] * 4)]
)
def test_a_queue_at_its_bound_is_paused_and_resumed_at_half(
    wakeup: Wakeup, options: dict[str, int], messages: list[bytes]
) -> None:
    inbox = inbox_with(wakeup, **options)
    partition = Partition(inbox)
    for body in messages:
        partition.arrive(None, body)
    assert "triage" in inbox.congested()
    for _ in range(len(messages) // 2):
        inbox.take(lambda topic: True)
    assert "triage" not in inbox.congested()


def test_arrivals_wake_the_one_that_delivers(wakeup: Wakeup) -> None:
    inbox = inbox_with(wakeup)
    assert not wakeup.wait(0)
    Partition(inbox).arrive("a")
    inbox.accepted()
    assert wakeup.wait(0)


@settings(deadline=None)
@given(keys=st.lists(st.sampled_from("abc") | st.none(), max_size=25), choices=st.randoms(use_true_random=False))
def test_in_whatever_order_work_ends_each_key_is_worked_in_order_and_completely(
    keys: list[str | None], choices: random.Random
) -> None:
    wakeup = Wakeup()
    try:
        inbox = inbox_with(wakeup)
        partition = Partition(inbox)
        for key in keys:
            partition.arrive(key)
        out: list[Held] = []
        seen: dict[bytes, list[int]] = {}
        while True:
            out += take_all(inbox)
            if not out:
                break
            with_key = [held.arrival.key for held in out if held.arrival.key is not None]
            assert len(with_key) == len(set(with_key))
            held = out.pop(choices.randrange(len(out)))
            if choices.random() < 0.2:
                inbox.put_back(held.tag)
                continue
            if held.arrival.key is not None:
                seen.setdefault(held.arrival.key, []).append(held.arrival.offset)
            inbox.finish(held.tag)
        assert all(order == sorted(order) for order in seen.values())
        assert partition.watermark == len(keys)
    finally:
        wakeup.close()
