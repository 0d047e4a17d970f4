"""The mover: what is due goes on, what is not waits, and nothing counts as moved before it is confirmed."""

from __future__ import annotations

import logging
import random

import pytest
from confluent_kafka import KafkaError, KafkaException

from service.transport.consuming import offsets
from service.transport.consuming.assignments import Assignment
from service.transport.consuming.offsets import Progress
from service.transport.delays import mover
from service.transport.delays.route import park, read_parked
from service.transport.options import Options
from service.transport.records import Arrival, Record
from tests.unit.transport.delay_world import START, TARGET, FakePublisher, Host, World

OPTIONS = Options(delay_levels=(10.0, 60.0))


def stage() -> tuple[World, Host]:
    """A world with one mover that owns every partition."""
    world = World(OPTIONS)
    host = world.host()
    world.share()
    return world, host


def names(world: World) -> list[str]:
    return [record.value.decode() for _, record in world.log.arrived]


def test_messages_leave_in_the_order_they_are_due_with_key_and_headers_as_published() -> None:
    world, _ = stage()
    # given three messages, the first to arrive due last
    world.publish(5, "third")
    world.publish(2, "first", key=b"other")
    world.publish(2.5, "second")
    world.run(1.9)
    assert names(world) == []
    # when time passes
    world.run(4)
    # then each goes at its moment, as it was published
    assert names(world) == ["first", "second", "third"]
    assert [key for _, record in world.log.arrived for key, _ in record.headers] == ["due"] * 3
    assert world.log.arrived[0][1].key == b"other"


def test_equal_keys_with_equal_times_keep_their_order() -> None:
    world, _ = stage()
    due = START + 75
    for number in range(50):
        world.publish(0, str(number), due=due)
    world.run(80)
    assert names(world) == [str(number) for number in range(50)]


def test_nothing_is_finished_before_its_copy_is_confirmed() -> None:
    world, host = stage()
    host.answers = lambda publisher: None
    world.publish(1)
    world.run(1.5)
    assert len(host.publisher.open) == 1
    assert world.unmoved == 1
    host.answers = FakePublisher.confirm
    world.run(0.2)
    assert world.unmoved == 0


def test_what_is_due_next_is_not_kept_behind_ten_thousand_that_are_due_later() -> None:
    world, host = stage()
    host.batch = 200
    # given many messages due in nine seconds, and one published after them, due in one
    for number in range(12_000):
        world.publish(9 + number / 12_000)
    due = world.publish(1, "urgent")
    # when its moment has come
    world.run(1.2)
    # then it was sent, and hardly anything of the others is held
    assert names(world) == ["urgent"]
    assert world.log.arrived[0][0] <= due + 0.1
    assert host.most_held < 500
    # and those come at their time, in order, while what is held stays bounded
    world.run(10, step=0.02)
    assert len(world.log.arrived) == 12_001
    assert max(at - float(dict(record.headers)["due"] or 0) for at, record in world.log.arrived) < 1.0
    assert host.most_held <= 5_000 + 400


def test_a_hundred_thousand_that_wait_for_an_hour_take_hardly_any_room() -> None:
    world = World(Options())
    host = world.host()
    host.batch = 200
    world.share()
    for _ in range(100_000):
        world.publish(3600)
    world.run(10)
    assert host.most_held <= 400
    assert world.unmoved == 100_000


def test_a_copy_that_was_not_stored_is_sent_again() -> None:
    world, host = stage()
    world.publish(1)
    # given a cluster that first cannot be reached, then has too few replicas
    host.publisher.away = True
    world.run(1.2)
    host.publisher.away = False
    host.answers = lambda publisher: publisher.confirm(KafkaError(KafkaError.NOT_ENOUGH_REPLICAS), stored=False)
    world.run(5)
    host.answers = FakePublisher.confirm
    # when it is well again
    world.run(15)
    # then the message arrives, once, and nothing is left
    assert len(world.log.arrived) == 1
    assert world.unmoved == 0


def test_a_cluster_that_is_away_is_not_asked_all_the_time() -> None:
    world, host = stage()
    world.publish(1)
    host.answers = lambda publisher: publisher.confirm(KafkaError(KafkaError.NOT_ENOUGH_REPLICAS), stored=False)
    world.run(60)
    assert len(host.publisher.sent) < 60


def test_a_queue_without_a_leader_does_not_hold_up_the_others_nor_fill_the_memory() -> None:
    world, host = stage()
    host.batch = 200
    # given many messages due for a queue that confirms nothing, and some for another
    world.log.silent.add("deaf")
    for number in range(6000):
        world.publish(1 + number / 3000, target="deaf")
    for number in range(20):
        world.publish(1 + number / 2, str(number))
    world.run(12)
    # then the others are served, no later than it takes to see that nothing is confirmed
    assert names(world) == [str(number) for number in range(20)]
    assert all(at - float(dict(record.headers)["due"] or 0) < 3 for at, record in world.log.arrived)
    # and what waits for the deaf one waits in the cluster
    assert host.mover.levels()["delayed_held_messages"] < 3000
    # when it has a leader again, all of them arrive
    world.log.silent.clear()
    world.run(12)
    assert len(world.log.arrived) == 6020


def test_what_is_due_for_a_topic_that_does_not_come_back_is_kept_aside() -> None:
    world, _ = stage()
    world.log.missing.add("gone")
    world.publish(1, "lost", target="gone")
    world.publish(2, "well")
    # when it was tried for a minute and more
    world.run(30)
    assert world.log.kept_aside == []
    world.run(120)
    # then it lies on the dead-letter topic, with what it was for, and the others were not disturbed
    [kept] = world.log.kept_aside
    assert kept.value == b"lost"
    assert read_parked(kept.headers).target == "gone"
    assert names(world) == ["well"]
    assert world.unmoved == 0


def test_a_topic_that_comes_back_gets_what_was_due() -> None:
    world, _ = stage()
    world.log.missing.add(TARGET)
    world.publish(1)
    world.run(30)
    world.log.missing.clear()
    world.run(12)
    assert len(world.log.arrived) == 1


def test_a_delay_topic_that_was_deleted_is_made_again() -> None:
    world, _ = stage()
    world.publish(75)
    world.log.missing.add(world.names.level(10))
    world.run(80)
    assert names(world) == ["m"]


def test_a_message_over_the_limit_of_its_queue_is_kept_aside_at_once() -> None:
    world, _ = stage()
    world.log.narrow.add("narrow")
    world.publish(1, "big", target="narrow")
    world.run(1.5)
    assert [record.value for record in world.log.kept_aside] == [b"big"]
    assert world.unmoved == 0


def test_the_batch_mates_of_a_message_over_the_limit_arrive() -> None:
    world, host = stage()
    for name in ("one", "two"):
        world.publish(1, name)
    # given a broker that refuses a batch for what is in it
    too_large = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    host.answers = lambda publisher: publisher.confirm(too_large, stored=False)
    world.run(1.5)
    assert sorted(names(world)) == ["one", "two"]
    assert world.log.kept_aside == []


def test_a_record_that_does_not_say_what_it_waits_for_is_kept_aside_even_if_that_takes_a_while() -> None:
    world, host = stage()
    world.log.write(world.route.soon, 3, Record(b"k", b"stray", [("task", b"t")]), world.now)
    host.publisher.away = True
    world.run(1)
    host.publisher.away = False
    world.run(10)
    assert [record.value for record in world.log.kept_aside] == [b"stray"]
    assert world.unmoved == 0


def test_a_level_is_read_again_when_its_head_may_go() -> None:
    world, host = stage()
    # given more than is read ahead, on a level of a minute
    for number in range(200):
        world.publish(65 + number / 100, str(number))
    world.run(30)
    place = world.names.level(60), 0
    assert place in host.mover.congested()
    assert host.mover.levels()["delayed_held_messages"] <= 40
    # when the minute is over, then all of them move on, and arrive at their time
    world.run(32)
    assert world.unmoved == 200
    world.run(10)
    assert names(world) == [str(number) for number in range(200)]


def test_records_of_an_older_release_are_moved_at_their_time() -> None:
    """They lie on any partition of a smaller topic, and may leave when they are due and not when a slot opens."""
    world = World(OPTIONS, soon_partitions=2)
    world.host()
    world.share()
    for number, delay in enumerate((3.0, 1.0, 2.0)):
        due = START + delay
        world.log.write(world.route.soon, 0, park(Record(None, b"%d" % number, []), TARGET, due, due), world.now)
    world.publish(2.5, "new")
    world.run(0.9)
    assert names(world) == []
    world.run(4)
    assert names(world) == ["1", "2", "new", "0"]


def test_a_clock_that_is_set_back_makes_nothing_early_and_one_set_ahead_loses_nothing() -> None:
    world, _ = stage()
    world.publish(5)
    world.run(4)
    world.now -= 100
    world.run(3)
    assert names(world) == []
    world.now += 3600
    world.run(0.2)
    assert names(world) == ["m"]


def test_what_became_due_while_nobody_moved_goes_at_once_in_order() -> None:
    world = World(OPTIONS)
    for number in reversed(range(40)):
        world.publish(1 + number / 5, str(number))
    world.now += 3600
    world.host()
    world.share()
    world.run(0.2)
    assert names(world) == [str(number) for number in range(40)]


def test_what_left_with_its_partition_is_not_moved_here() -> None:
    world, host = stage()
    world.publish(1)
    world.run(0.5)
    host.give_back(list(host.owned))
    world.run(2)
    assert names(world) == []
    # and whoever has it next moves it, once
    world.host()
    world.share()
    world.run(0.2)
    assert names(world) == ["m"]


def test_what_was_sent_when_a_partition_leaves_counts_as_moved() -> None:
    world, host = stage()
    host.answers = lambda publisher: None
    world.publish(1)
    world.run(1.1)
    assert len(host.publisher.open) == 1
    # when the mover ends in good order, before the confirmation
    host.publisher.at_once = True
    host.answers = FakePublisher.confirm
    host.give_back(list(host.owned))
    host.publisher.confirm()
    world.hosts.clear()
    world.host()
    world.share()
    world.run(1)
    # then its successor does not send it again
    assert names(world) == ["m"]


def test_a_partition_that_leaves_amid_thousands_doubles_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit tells apart about a thousand stretches; what is beyond that goes round the wheel once more."""
    monkeypatch.setattr(offsets, "METADATA_LIMIT", 400)
    monkeypatch.setattr(mover, "_TOLD_APART", 50)
    world, host = stage()
    host.batch = 200
    # given ten times as many as a commit can tell apart, due within a second, in no order at all, half of them moved
    for number in random.Random(7).sample(range(1000), 1000):
        world.publish(2 + number / 1000)
    world.run(2.5)
    assert 300 < len(world.log.arrived) < 700
    # when their partition goes to another mover
    host.give_back(list(host.owned))
    world.hosts.clear()
    world.host()
    world.share()
    world.run(10)
    # then each arrives once
    assert len({record.headers[0] for _, record in world.log.arrived}) == 1000
    assert len(world.log.arrived) == 1000


def test_what_was_moved_and_committed_is_deleted_from_the_delay_topic_and_nothing_else() -> None:
    # given one message that was moved, and one that waits
    world, _ = stage()
    world.publish(1)
    slot = next(place for place, records in world.log.records.items() if records)
    world.publish(65)
    # when some seconds have passed
    world.run(12)
    assert world.topics.trimmed == [(*slot, 1)]


def test_what_was_moved_is_deleted_when_the_last_mover_ends() -> None:
    """A broker forgets the commits of a group without members after a week; what is gone cannot come back."""
    world, host = stage()
    world.publish(1)
    world.run(1.5)
    assert world.topics.trimmed == []
    host.give_back(list(host.owned))
    world.log.commits.clear()
    world.hosts.clear()
    world.host()
    world.share()
    world.run(2)
    assert names(world) == ["m"]


def test_a_topic_that_was_made_anew_is_not_trimmed_by_the_offsets_of_the_old_one() -> None:
    world, host = stage()
    old = Assignment(world.route.soon, 0, 5000, None)
    host.mover.accept(
        old, Arrival(old.topic, 0, 0, None, b"", park(Record(None, b"", []), TARGET, START, START).headers)
    )
    old.retire()
    host.mover.left([old])
    assert world.topics.trimmed == []


def test_a_cluster_that_does_not_allow_deletion_is_told_about_and_asked_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world, host = stage()
    world.topics.refusal = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            world.publish(1)
            world.run(10, step=0.5)
    assert len(world.log.arrived) == 30
    told = [line for line in caplog.messages if "allow Delete" in line]
    assert 1 <= len(told) <= 2
    assert host.counters.snapshot()["delays_untrimmed"] >= 1


def test_a_restart_goes_on_where_the_commit_says() -> None:
    world, host = stage()
    world.publish(3, "later")
    world.publish(1, "sooner")
    world.run(1.5)
    host.kill(stored=True)
    world.host()
    world.share()
    world.run(5)
    assert names(world) == ["sooner", "later"]
    assert all(isinstance(progress, Progress) for progress in world.log.commits.values())
