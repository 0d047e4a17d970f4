"""What the stack tells a person, and how it keeps two commands apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.devstack.accounts import reachable
from service.devstack.causes import cause, pick
from service.devstack.errors import NotReadyError, ProcessDiedError, StackBusyError
from service.devstack.lock import exclusive
from service.devstack.progress import Progress
from service.devstack.waiting import wait_until


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'a'\n",
            "ModuleNotFoundError: No module named 'a'",
        ),
        (
            "ERROR Exiting\njava.net.BindException: Address already in use\n\tat sun.nio.ch.Net.bind0\nINFO down\n",
            "java.net.BindException: Address already in use",
        ),
        (
            "LOG:  starting\nFATAL:  data directory has wrong ownership\nHINT:  …\n",
            "FATAL:  data directory has wrong ownership",
        ),
        ("one\ntwo\n", "two"),
        ("", "it wrote nothing to its log"),
    ],
)
def test_the_telling_line_of_a_log_is_found(log: str, line: str) -> None:
    assert pick(log) == line


def test_only_what_was_written_since_the_start_counts(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("FATAL: last week\n")
    since = log.stat().st_size
    with log.open("a") as stream:
        stream.write("ended today\n")
    assert cause(log, since) == "ended today"
    assert cause(tmp_path / "none.log", 0) == "it wrote no log"


def test_one_command_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    refused = pytest.raises(StackBusyError, match=r"`sentinai stack up` \(process \d+\) has this stack in hand")
    with exclusive(tmp_path / "lock", "up"), refused, exclusive(tmp_path / "lock", "down"):
        raise AssertionError("both have it")
    with exclusive(tmp_path / "lock", "down"):
        pass


def test_waiting_ends_with_what_was_missing() -> None:
    with pytest.raises(NotReadyError, match=r"kafka was not ready within 0 s: no route"):
        wait_until(lambda: "no route", "kafka", 0)


def test_waiting_ends_at_once_when_it_is_pointless() -> None:
    def dead() -> None:
        raise ProcessDiedError("it died")

    with pytest.raises(ProcessDiedError, match="it died"):
        wait_until(lambda: "no route", "kafka", 60, alive=dead)


def test_a_step_is_told_with_its_time_once_it_is_done() -> None:
    # given a clock that a step takes two seconds of
    ticks = iter([0.0, 1.0, 3.0, 10.0, 12.5])
    lines: list[str] = []
    progress = Progress(lines.append, lambda: next(ticks))
    with progress.step("kafka is ready"):
        pass
    assert [line.split() for line in lines] == [["✓", "kafka", "is", "ready", "2.0", "s"]]
    # and a step that fails is not told as done
    with pytest.raises(ProcessDiedError), progress.step("redis is ready"):
        raise ProcessDiedError("it died")
    progress.total("ready")
    assert lines[1:] == ["  ready in 12.5 s"]


def test_a_closed_folder_on_the_way_is_seen(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    stranger = 12_345
    (tmp_path / "closed").chmod(0o700)
    assert not reachable(inner, stranger, stranger)
    owner = (tmp_path / "closed").stat()
    assert not reachable(inner, stranger, owner.st_gid)
