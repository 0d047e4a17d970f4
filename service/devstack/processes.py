"""Finding and ending what belongs to an instance by pid, whatever became of its supervisor.

Every process of an instance inherits one environment variable that names the instance's folder; so even after
supervisord was killed and left its children behind, `up` and `down` find them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil

from service.devstack.errors import StackError

MARKER = "SENTINAI_STACK_HOME"


def belonging(home: Path) -> list[psutil.Process]:
    """All processes of the instance, children included."""
    found: dict[int, psutil.Process] = {}
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            if process.pid not in spared and process.environ().get(MARKER) == str(home):
                found[process.pid] = process
                # PostgreSQL's children write their title over their environment.
                found.update({child.pid: child for child in process.children(recursive=True)})
        except psutil.Error:
            continue
    return [process for process in found.values() if _lives(process)]


def end(processes: Sequence[psutil.Process], grace_seconds: float) -> None:
    """Terminate processes, kill what has not ended after the grace, and return when all are gone.

    Raises StackError naming what cannot be ended.
    """
    for process in processes:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        _signal(process, kill=True)
    _, alive = psutil.wait_procs(alive, timeout=3)
    left = [process for process in alive if _lives(process)]
    if left:
        raise StackError(f"these processes could not be ended: {', '.join(str(process.pid) for process in left)}")


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied:
        return  # `end` names it if it stays


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
