"""What a fault needs of the world from its beginning, and whether this machine can give it."""

from __future__ import annotations

import os
import shutil
import subprocess
from enum import StrEnum
from functools import cache


class Need(StrEnum):
    """Something a world must be made with."""

    SMALL_BROKER_DISK = "a small volume for one broker"
    SMALL_DATABASE_DISK = "a small volume for PostgreSQL"
    OWN_CLOCKS = "a clock of its own for each application process"


def missing_here(need: Need) -> str | None:
    """None when this machine can give it, else why not and what would help."""
    if need is Need.OWN_CLOCKS:
        return None
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "only root can mount a small volume: run it as root"
    return _mounting_refused()


@cache
def _mounting_refused() -> str | None:
    # In a mount namespace of its own: nothing of it is left.
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError as error:
        return f"a small volume cannot be mounted: {error}"
    return None if tried.returncode == 0 else f"a small volume cannot be mounted: {tried.stderr.strip()}"
