"""Cores and memory by group, from what the kernel counted before and after."""

from __future__ import annotations

import os
import subprocess
import sys

from service.bench.processes import GENERATOR, OTHERS, Group, Snapshot, take_snapshot, usage

MIB = 1024 * 1024


def _snapshot(at: float, machine: float, **groups: Group) -> Snapshot:
    return Snapshot(at, groups, machine)


def test_cores_are_cpu_seconds_per_second_and_the_rest_of_the_machine_is_named() -> None:
    # given ten seconds in which PostgreSQL used five of CPU and the machine fifteen
    before = _snapshot(100.0, 1000.0, postgres=Group(20.0, 50 * MIB, 3, root=7))
    after = _snapshot(110.0, 1015.0, postgres=Group(25.0, 80 * MIB, 4, root=7))
    # when that is told
    postgres, others = usage(before, after)
    # then
    assert (postgres.cores, postgres.memory_mib, postgres.processes) == (0.5, 80.0, 4)
    assert not postgres.restarted
    assert (others.group, others.cores) == (OTHERS, 1.0)


def test_a_program_that_was_started_anew_is_told_and_never_negative() -> None:
    before = _snapshot(0.0, 0.0, worker=Group(500.0, MIB, 1, root=7))
    after = _snapshot(10.0, 20.0, worker=Group(2.0, MIB, 1, root=8))
    worker = usage(before, after)[0]
    assert worker.restarted
    assert worker.cores == 0.2


def test_children_that_ended_are_counted_for_their_program() -> None:
    # given a program whose only child burns a fifth of a second of CPU and ends before anybody looks
    child = "import time\nwhile time.process_time() < 0.2: pass"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print(flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        # when it is looked at
        snapshot = take_snapshot({"program": parent.pid, "gone": 2**22 + 1})
    finally:
        parent.communicate(b"\n")
    # then its child's CPU is there, and a program that is gone is left out
    assert snapshot.groups["program"].cpu_seconds >= 0.2
    assert snapshot.groups["program"].processes == 1
    assert "gone" not in snapshot.groups
    assert snapshot.groups[GENERATOR].root == os.getpid()


def test_a_workers_pool_is_told_apart_from_its_main_process() -> None:
    # given a worker with one child
    program = (
        "import subprocess, sys; "
        "c = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "
        "print(flush=True); input(); c.communicate()"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        worker.stdout.readline()
        # when it is looked at
        snapshot = take_snapshot({"worker": worker.pid})
    finally:
        worker.communicate(b"\n")
    # then
    assert snapshot.groups["worker main"].processes == 1
    assert snapshot.groups["worker children"].processes == 1
