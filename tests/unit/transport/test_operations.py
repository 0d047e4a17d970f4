"""The command line's decisions: where a position moves, what that skips or repeats, and how things are said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from service.transport.consuming.offsets import Ledger, Progress, read_islands
from service.transport.consuming.tally import tally
from service.transport.inspection.moments import age, moment, span
from service.transport.operations.cli import operations
from service.transport.operations.positions import plan, targets
from service.transport.operations.target import parse_options, target_of_broker

PLACE = ("orders", 0)


def committed(start: int, end: int, finished: set[int]) -> Progress:
    """The commit of a worker that was handed everything and finished some."""
    ledger = Ledger(start)
    for offset in range(start, end):
        ledger.receive(offset)
        ledger.hand_out(offset)
    for offset in finished:
        ledger.finish(offset)
    progress = ledger.progress()
    assert progress is not None
    return progress


def runs_after(commit: Progress, end: int) -> set[int]:
    """Offsets that a worker which continues from this commit would run."""
    islands = read_islands(commit.offset, commit.metadata)
    return {offset for offset in range(commit.offset, end) if offset not in islands}


def test_a_stuck_message_is_skipped_and_nothing_behind_it_is_run_again() -> None:
    # given a message that is stuck at 3, and everything behind it finished
    commit = committed(0, 10, set(range(10)) - {3})
    # when the group is moved by one
    step = plan(PLACE, tally(0, 10, commit), commit, 4)
    # then that one is skipped, and there is nothing left to run
    assert step is not None
    assert (step.at, step.to, step.skipped, step.repeated) == (3, 10, 1, 0)
    assert runs_after(step.commit, 10) == set()


def test_what_is_run_again_counts_as_redelivered() -> None:
    commit = committed(0, 10, set(range(10)))
    step = plan(PLACE, tally(0, 10, commit), commit, 6)
    assert step is not None
    assert (step.to, step.skipped, step.repeated) == (6, 0, 4)
    assert read_islands(step.commit.offset, step.commit.metadata).reached == 9


def test_a_group_that_never_was_can_be_started_at_the_end() -> None:
    step = plan(PLACE, tally(5, 25, None), None, 25)
    assert step is not None
    assert (step.at, step.to, step.skipped, step.repeated) == (5, 25, 20, 0)


def test_no_position_lies_outside_the_log() -> None:
    # given a log from 5 to 25, of which the half is finished
    commit = Progress(15, "")
    counted = tally(5, 25, commit)
    assert getattr(plan(PLACE, counted, commit, -100), "to", None) == 5
    assert getattr(plan(PLACE, counted, commit, 100), "to", None) == 25
    assert plan(PLACE, counted, commit, 15) is None


@given(
    low=st.integers(0, 10),
    start=st.integers(0, 10),
    length=st.integers(0, 20),
    finished=st.sets(st.integers(0, 30)),
    to=st.integers(-5, 40),
)
def test_the_plan_says_what_will_happen(low: int, start: int, length: int, finished: set[int], to: int) -> None:
    end = max(low, start + length)
    commit = committed(start, start + length, finished)
    would_run = {offset for offset in runs_after(commit, end) if offset >= low}
    step = plan(PLACE, tally(low, end, commit), commit, to)
    if step is None:
        return
    will_run = runs_after(step.commit, end)
    assert step.skipped == len(would_run - will_run)
    assert step.repeated == len(will_run - would_run)
    bounded = min(max(to, low), end)
    if bounded > commit.offset:
        assert will_run == {offset for offset in would_run if offset >= bounded}
    else:
        assert will_run == set(range(bounded, end))


def test_offsets_are_named_by_partition() -> None:
    places: dict[Any, Any] = {("orders", 0): None, ("orders", 1): None}
    assert targets(("1:20",), places) == {("orders", 1): 20}
    with pytest.raises(ValueError, match="no partition 2; there are 2, from 0"):
        targets(("2:0",), places)
    with pytest.raises(ValueError, match="is not PARTITION:OFFSET"):
        targets(("20",), places)


def test_a_broker_is_named_by_url_or_by_its_address() -> None:
    named = target_of_broker("kafka://me:p%40ss@one:1,two:2//", {"topic_prefix": "x-"}).cluster.options
    assert (named.bootstrap_servers, named.topic_prefix) == ("one:1,two:2", "x-")
    assert named.common_config == {"sasl.username": "me", "sasl.password": "p@ss"}
    assert target_of_broker("one:1", {}).cluster.options.bootstrap_servers == "one:1"


def test_options_are_json_or_text() -> None:
    pairs = ("partitions=3", 'common_config={"security.protocol": "SSL"}', "group_id=billing")
    assert parse_options(pairs) == {
        "partitions": 3,
        "common_config": {"security.protocol": "SSL"},
        "group_id": "billing",
    }
    with pytest.raises(click.UsageError, match="is not name=value"):
        parse_options(("nonsense",))


def test_times_are_utc_and_ages_readable() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    assert moment(now) == "2026-01-02T03:04:05.678Z"
    told = [age(now - timedelta(seconds=seconds), now) for seconds in (-5, 59, 61, 3700, 90000)]
    assert told == ["0s", "59s", "1m 1s", "1h 1m", "1d 1h"]
    assert [span(seconds) for seconds in (600, 604800, 86460)] == ["10m", "7d", "1d"]
    assert age(None, now) is None


def test_every_command_explains_itself_with_examples() -> None:
    for name, command in operations.commands.items():
        told = CliRunner().invoke(operations, [name, "--help"])
        assert told.exit_code == 0
        assert "Examples:" in told.output, name
        assert command.help


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["move", "orders"], "say where to"),
        (["move", "orders", "--to-latest", "--by", "3"], "say where to"),
        (["peek"], "name a queue"),
        (["peek", "orders", "--offset", "3"], "name it with --partition"),
        (["-o", "nonsense", "lag"], "is not name=value"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(operations, ["-b", "127.0.0.1:1", *arguments])
    assert result.exit_code == 2
    assert told in result.stderr
