"""What happens to the work of a process that dies, is restarted, comes, goes, or stands still for too long."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.transport.errors import BadOption

from .conftest import Corner, until
from .slots import Flow, Slots, flowing

pytestmark = pytest.mark.kafka

PARTITIONS = 4
FEW = 40
"""At most this many of some hundreds of messages are run twice: what was out or just finished when a process died."""


@pytest.fixture
def slots(corner: Corner, tmp_path: Path) -> Iterator[Slots]:
    slots = Slots(corner, tmp_path)
    yield slots
    slots.close()


@pytest.fixture
def flow(corner: Corner) -> Iterator[Flow]:
    with flowing(corner) as flow:
        yield flow


def pair(slots: Slots) -> None:
    """Two processes that share the work."""
    slots.start("one")
    until(lambda: slots.shares() == [PARTITIONS], "one has everything", 30)
    slots.start("two")
    until(lambda: slots.shares() == [2, 2] and flows(slots, "one", "two"), "two have their share", 30)


def flows(slots: Slots, *names: str, after: int = 0) -> bool:
    """Whether each of these slots has worked something, beyond the first so many entries of the journal."""
    return {entry["slot"] for entry in slots.entries()[after:]} >= set(names)


def everything_is_done(slots: Slots, flow: Flow, twice: int) -> None:
    count = flow.stop()
    until(lambda: len(slots.worked()) >= count, "every message was worked", 40)
    repeated = sum(times - 1 for times in slots.worked().values())
    assert repeated <= twice, f"{repeated} of {count} were run twice"


def test_survivors_take_over_the_work_of_a_killed_process(slots: Slots, flow: Flow) -> None:
    pair(slots)
    slots.signal("two", signal.SIGKILL)
    until(lambda: slots.shares() == [PARTITIONS], "the survivor has everything", 20)
    everything_is_done(slots, flow, twice=FEW)


def test_a_slot_restarted_in_place_keeps_its_partitions_and_disturbs_nobody(slots: Slots, flow: Flow) -> None:
    # given two slots with ids of their own
    slots.static = True
    pair(slots)
    before, survivor_log = assigned(slots, "two"), slots.log("one")
    # when one is killed and started again at once
    done = len(slots.entries())
    slots.signal("two", signal.SIGKILL)
    slots.start("two")
    until(lambda: flows(slots, "two", after=done), "the slot works again", 20)
    # then it has what it had before, and the other slot saw no rebalance
    assert assigned(slots, "two") == before
    assert slots.log("one") == survivor_log
    everything_is_done(slots, flow, twice=FEW)


def test_a_process_that_joins_gets_its_share_and_one_told_to_stop_leaves_nothing_to_do_twice(
    slots: Slots, flow: Flow
) -> None:
    pair(slots)
    done = len(slots.entries())
    slots.signal("two", signal.SIGTERM)
    until(lambda: slots.shares() == [PARTITIONS], "the other has everything", 20)
    until(lambda: flows(slots, "one", after=done), "work flows")
    everything_is_done(slots, flow, twice=0)


def test_a_process_that_stood_still_is_fenced_and_goes_on_without_a_restart(slots: Slots, flow: Flow) -> None:
    pair(slots)
    # given a process that stands still until the other has its work
    slots.signal("two", signal.SIGSTOP)
    until(lambda: slots.shares() == [PARTITIONS], "the other has everything", 30)
    # when it goes on
    slots.signal("two", signal.SIGCONT)
    until(lambda: "lost" in slots.log("two"), "it notices what it has lost", 30)
    until(lambda: slots.shares() == [2, 2], "it has a share again", 30)
    done = len(slots.entries())
    until(lambda: flows(slots, "one", "two", after=done), "both work")
    everything_is_done(slots, flow, twice=FEW)


def test_a_process_that_ends_without_closing_leaves_its_group(slots: Slots) -> None:
    slots.environment["LEAVE_TO_THE_INTERPRETER"] = "1"
    slots.start("one")
    until(lambda: slots.shares() == [PARTITIONS], "it has everything", 30)
    slots.signal("one", signal.SIGTERM)
    # its session would last for six seconds more
    assert slots.shares() == []


def test_a_slot_started_twice_is_told_to_the_first_and_the_second_goes_on(slots: Slots, flow: Flow) -> None:
    slots.start("first", instance_id="slot-1")
    until(lambda: flows(slots, "first"), "the first works", 30)
    slots.start("second", instance_id="slot-1")
    # then the first says why, and ends: it does not fight for the slot
    until(lambda: slots.processes["first"].poll() is not None, "the first ends", 30)
    assert "under this worker's instance_id" in slots.log("first")
    until(lambda: flows(slots, "second"), "the second works", 30)
    everything_is_done(slots, flow, twice=FEW)


def test_an_instance_id_is_refused_where_it_gains_nothing(corner: Corner) -> None:
    with pytest.raises(BadOption, match="instance_id"):
        corner.connect(instance_id="slot-1", consumer_config={"group.protocol": "consumer"}).connect()


def test_the_new_protocol_works_where_the_broker_has_it(slots: Slots, flow: Flow) -> None:
    slots.corner.options["consumer_config"] = {"group.protocol": "consumer"}
    pair(slots)
    slots.signal("two", signal.SIGTERM)
    until(lambda: slots.shares() == [PARTITIONS], "the other has everything", 20)
    everything_is_done(slots, flow, twice=0)


def assigned(slots: Slots, name: str) -> set[str]:
    """The partitions a slot's last assignment named."""
    lines = [line for line in slots.log(name).splitlines() if "-jobs: assigned" in line]
    return set(re.findall(r"\[(\d+)\]", lines[-1]))
