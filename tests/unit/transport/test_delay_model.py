"""Delayed delivery as a whole: whatever is published, fails, dies and moves, every message arrives, and none early."""

from __future__ import annotations

from collections import Counter

import pytest
from confluent_kafka import KafkaError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.transport.delays import forwarding, mover
from service.transport.options import Options
from tests.unit.transport.delay_world import FakePublisher, Host, World

OPTIONS = Options(delay_threshold=0.2, delay_horizon=1.0, delay_levels=(1.0, 2.0, 5.0))
STEP = 0.05
LATE = 0.3
"""In model time, when nothing goes wrong: a step to read, a step to send, a step to confirm, and rounding."""
NEAR, FAR, BATCH = 30, 4, 10
PARTITIONS = 16 + 3

delays = st.one_of(st.floats(0, 12), st.sampled_from([0.0, 0.2, 0.21, 1.0, 2.0, 5.0, 7.0]), st.floats(-5, 0))


class DelayedDelivery(RuleBasedStateMachine):
    """Publishers, a clock, one to three movers, a cluster that has bad days, and an undertaker."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(OPTIONS)
        self.due: dict[str, float] = {}
        self.not_before: dict[str, float] = {}
        self.calm = True
        self.may_double = False
        self.judged = 0

    @initialize(movers=st.integers(1, 3))
    def start(self, movers: int) -> None:
        for _ in range(movers):
            self.add_mover()
        self.world.share()

    # -- what happens --------------------------------------------------------------------------------------------

    @rule(delay=delays, count=st.integers(1, 15), spread=st.floats(0, 3), key=st.sampled_from([b"a", b"b"]))
    def publish(self, delay: float, count: int, spread: float, key: bytes) -> None:
        for number in range(count):
            name = str(len(self.due))
            due = self.world.publish(delay + spread * (number * 7 % count) / count, name, key=key)
            self.due[name], self.not_before[name] = due, max(due, self.world.now)

    @rule(delay=st.floats(1, 4), count=st.integers(60, 150))
    def publish_more_than_is_held(self, delay: float, count: int) -> None:
        self.calm = False
        self.publish(delay, count, 0.5, b"a")

    @rule(seconds=st.floats(STEP, 3))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds, STEP)

    @rule()
    def nobody_confirms(self) -> None:
        self.trouble(lambda publisher: None)

    @rule(stored=st.booleans())
    def everything_fails(self, stored: bool) -> None:
        """With ``stored`` the cluster has the message and nobody hears of it: then it may come twice."""
        self.may_double |= stored
        error = KafkaError(KafkaError._MSG_TIMED_OUT if stored else KafkaError.NOT_ENOUGH_REPLICAS)
        self.trouble(lambda publisher: publisher.confirm(error, stored=stored))

    @rule(at_most=st.integers(1, 5))
    def confirmations_are_slow_and_out_of_order(self, at_most: int) -> None:
        def slowly(publisher: FakePublisher) -> None:
            publisher.open.reverse()
            publisher.confirm(at_most=at_most)

        self.trouble(slowly)

    @rule()
    def the_cluster_is_away(self) -> None:
        self.trouble(FakePublisher.confirm)
        for host in self.world.hosts:
            host.publisher.away = True

    @rule()
    def recover(self) -> None:
        for host in self.world.hosts:
            host.answers, host.publisher.away = FakePublisher.confirm, False

    @precondition(lambda self: len(self.world.hosts) < 3)
    @rule()
    def join(self) -> None:
        self.calm = False
        self.may_double |= self.someone_is_deaf()
        self.add_mover()
        self.world.share()

    @precondition(lambda self: len(self.world.hosts) > 1)
    @rule()
    def leave(self) -> None:
        self.calm = False
        self.may_double |= self.someone_is_deaf()
        host = self.world.hosts.pop()
        host.give_back(list(host.owned))
        self.world.share()

    @precondition(lambda self: self.world.hosts)
    @rule(stored=st.booleans(), number=st.integers(0, 2))
    def kill_9(self, stored: bool, number: int) -> None:
        self.calm, self.may_double = False, True
        self.world.hosts[number % len(self.world.hosts)].kill(stored)
        if not self.world.hosts:
            self.add_mover()
        self.world.share()

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_early_or_late_without_a_reason(self) -> None:
        for at, record in self.world.log.arrived[self.judged :]:
            name = record.value.decode()
            assert at >= self.due[name] - OPTIONS.delay_threshold
            assert at <= self.not_before[name] + LATE or not self.calm
        self.judged = len(self.world.log.arrived)

    @invariant()
    def memory_is_bounded(self) -> None:
        """Full, it takes what one more batch brings; far partitions hold a few and a batch."""
        for host in self.world.hosts:
            assert host.most_held <= NEAR + PARTITIONS * (FAR + BATCH)

    @invariant()
    def a_commit_never_passes_what_was_not_moved(self) -> None:
        assert self.world.unmoved >= len(self.due.keys() - self.names())

    def teardown(self) -> None:
        if not self.world.hosts:
            return
        self.recover()
        self.world.run(45, 5 * STEP)
        self.wait_while_it_moves()
        arrived = Counter(record.value.decode() for _, record in self.world.log.arrived)
        assert arrived.keys() == self.due.keys(), "something was lost"
        assert self.may_double or set(arrived.values()) <= {1}, "something came twice, and nobody had died"
        assert self.world.unmoved == 0
        assert self.world.log.kept_aside == []

    # -- inside --------------------------------------------------------------------------------------------------

    def wait_while_it_moves(self) -> None:
        """Thousands that are due at once take their time, a few in each step; standing still they have none."""
        before = -1
        while before != (before := len(self.world.log.arrived)) and len(self.names()) < len(self.due):
            self.world.run(15, 5 * STEP)

    def add_mover(self) -> Host:
        host = self.world.host()
        host.batch = BATCH
        return host

    def trouble(self, answers: object) -> None:
        self.calm = False
        for host in self.world.hosts:
            host.answers = answers  # type: ignore[assignment]

    def someone_is_deaf(self) -> bool:
        return any(host.answers is not FakePublisher.confirm for host in self.world.hosts)

    def names(self) -> set[str]:
        return {record.value.decode() for _, record in self.world.log.arrived}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a short run reaches."""
    monkeypatch.setattr(mover, "_HELD_NEAR", NEAR)
    monkeypatch.setattr(mover, "_HELD_FAR", FAR)
    monkeypatch.setattr(mover, "_SETTLE", 0.0)
    monkeypatch.setattr(forwarding, "_OPEN", 25)
    monkeypatch.setattr(forwarding, "_OPEN_EACH", 20)


class TestDelayedDelivery(DelayedDelivery.TestCase):
    settings = settings(
        max_examples=80,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
