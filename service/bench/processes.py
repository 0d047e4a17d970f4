"""CPU and memory of everything that takes part, by what it is for: differences of what the kernel counted."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import psutil

Roots = Callable[[], Mapping[str, int]]
"""Process id of each program of the stack, by its name; asked anew each time, for programs are restarted."""

GENERATOR = "load generator"
OTHERS = "everything else"
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Group:
    """What the processes of one kind have used so far, and hold."""

    cpu_seconds: float
    memory_bytes: int
    processes: int
    root: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All groups at one moment."""

    at: float
    groups: Mapping[str, Group]
    machine_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group used between two snapshots."""

    group: str
    cores: float
    """CPU seconds per second: 1.0 is one core busy all the time."""
    memory_mib: float | None
    """At the end; proportional share (PSS), so that shared pages count once. None where that makes no sense."""
    processes: int | None
    restarted: bool = False
    """Its program was started anew in between: the figures are too low."""


def take_snapshot(roots: Mapping[str, int]) -> Snapshot:
    """Look at every process once."""
    children: dict[int, list[psutil.Process]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            children[process.ppid()].append(process)
        except psutil.Error:
            continue
    groups = {GENERATOR: _sum(os.getpid(), [psutil.Process()])}
    for name, pid in roots.items():
        below = _descendants(pid, children)
        try:
            root = psutil.Process(pid)
        except psutil.NoSuchProcess:
            continue
        if name == "worker":
            groups["worker main"], groups["worker children"] = _worker(root, below)
        else:
            groups[name] = _sum(pid, [root, *below])
    times = psutil.cpu_times()
    busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
    return Snapshot(time.monotonic(), groups, busy)


def usage(before: Snapshot, after: Snapshot) -> list[Usage]:
    """What each group used in between; the last row is everything else on the machine."""
    seconds = max(after.at - before.at, 1e-9)
    rows = []
    counted = 0.0
    for name, now in after.groups.items():
        then = before.groups.get(name)
        restarted = then is None or then.root != now.root
        used = max(0.0, now.cpu_seconds - (then.cpu_seconds if then is not None and not restarted else 0.0))
        counted += used
        rows.append(
            Usage(name, round(used / seconds, 3), round(now.memory_bytes / _MEBIBYTE, 1), now.processes, restarted)
        )
    rest = max(0.0, after.machine_cpu_seconds - before.machine_cpu_seconds - counted)
    return [*rows, Usage(OTHERS, round(rest / seconds, 3), None, None)]


def _descendants(pid: int, children: Mapping[int, list[psutil.Process]]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in children.get(pid, []):
        found += [child, *_descendants(child.pid, children)]
    return found


def _worker(root: psutil.Process, below: list[psutil.Process]) -> tuple[Group, Group]:
    """The worker's main process and its pool; what main has waited for was the pool's."""
    main, pool = _sum(root.pid, [root]), _sum(root.pid, below)
    ended = _ended_children(root)
    return replace(main, cpu_seconds=main.cpu_seconds - ended), replace(pool, cpu_seconds=pool.cpu_seconds + ended)


def _sum(root: int, processes: list[psutil.Process]) -> Group:
    """With what children used that have ended, so that short-lived ones are counted too."""
    cpu = 0.0
    memory = alive = 0
    for process in processes:
        try:
            times = process.cpu_times()
            memory += _memory(process)
            cpu += times.user + times.system + _ended_children(process)
        except psutil.Error:
            continue
        alive += 1
    return Group(cpu, memory, alive, root)


def _ended_children(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def _memory(process: psutil.Process) -> int:
    """Proportional share where the kernel tells it, else resident memory."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.AccessDenied, AttributeError):
        return int(process.memory_info().rss)
