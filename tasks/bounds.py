"""How long a stage may work a batch, and how much memory a worker process may have."""

from __future__ import annotations

import faulthandler
import math
import os
import resource
import sys
from pathlib import Path

from service.domain.exceptions import Stage
from service.engine.tool_stage import LONGEST_WAIT, REFILL
from service.settings import Settings

_MIB = 1 << 20
_LEAST, _MOST = 1024 * _MIB, 4096 * _MIB
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def time_limit(stage: Stage, settings: Settings) -> float:
    """Seconds after which a stage's delivery is ended.

    The tool stage may wait for calls as long as answers keep coming: its patience for each group that it starts.
    """
    if stage is not Stage.TOOL:
        return settings.stage_time_limit_seconds
    groups = math.ceil(settings.batch_size / REFILL)
    return settings.stage_time_limit_seconds + groups * LONGEST_WAIT * settings.tool_patience_seconds


def memory_limit(megabytes: int | None) -> int:
    """Bytes of data a worker process may have, 0 for any number; None asks for what fits this machine."""
    if megabytes is not None:
        return megabytes * _MIB
    return max(_LEAST, min(_MOST, _memory_here() // 4))


def bound_this_process(megabytes: int | None) -> None:
    """Have allocations beyond the limit fail in this process, and crashes leave a traceback in its log."""
    limit = memory_limit(megabytes)
    if limit:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)


def _memory_here() -> int:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        told = _CONTAINER_LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(told)) if told.isdecimal() else machine
