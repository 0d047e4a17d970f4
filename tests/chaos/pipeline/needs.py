"""What a fault needs of the world from its beginning, and whether this machine can give it."""

from __future__ import annotations

import os
import shutil
import subprocess
from enum import StrEnum
from functools import cache
from pathlib import Path


class Need(StrEnum):
    """Something a world must be made with."""

    SMALL_BROKER_DISK = "a small volume for one broker"
    SMALL_DATABASE_DISK = "a small volume for PostgreSQL"
    OWN_CLOCKS = "a clock of its own for each application process"


def missing_here(need: Need) -> str | None:
    """None when this machine can give it, else why not and what would help."""
    if need is Need.OWN_CLOCKS:
        return None if faketime() else "libfaketime is not installed: `apt-get install libfaketime` helps"
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return "only root can mount a small volume: run it as root"
    return _mounting_refused()


@cache
def faketime() -> Path | None:
    """libfaketime's library for programs with threads, installed on first use where that is possible."""
    found = next(iter(_find_faketime()), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
        found = next(iter(_find_faketime()), None)
    return found


def _find_faketime() -> list[Path]:
    return sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


def _install() -> None:
    install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "libfaketime"]
    quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True, "timeout": 300}
    if subprocess.run(install, check=False, **quiet).returncode != 0:  # type: ignore[call-overload]
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)  # type: ignore[call-overload]
        subprocess.run(install, check=False, **quiet)  # type: ignore[call-overload]


@cache
def _mounting_refused() -> str | None:
    # In a mount namespace of its own: nothing of it is left.
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError as error:
        return f"a small volume cannot be mounted: {error}"
    return None if tried.returncode == 0 else f"a small volume cannot be mounted: {tried.stderr.strip()}"
