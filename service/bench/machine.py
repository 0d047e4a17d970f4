"""On what it was measured: machine, versions and revision. A figure without them is no figure."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
from redis import Redis

from service.devstack.instance import Instance
from service.devstack.kafka import DISTRIBUTIONS

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that the figures depend on and that is not the pipeline's."""

    host: str
    system: str
    cpu_model: str
    cores: int
    """Usable by this process."""
    memory_gib: float
    load_average: float
    """Of the minute before the measurement: what else was going on."""
    python: str
    postgresql: str
    postgresql_settings: dict[str, str]
    kafka: str
    redis: str
    revision: str
    """Of the work tree; `-changed` when it holds something that is not committed."""
    measured_at: str
    profile: str


def describe(instance: Instance, project: Path, settings: Mapping[str, str], now: datetime) -> Machine:
    """Look around."""
    return Machine(
        host=platform.node(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu_model=cpu_model(_CPU_INFO.read_text()) if _CPU_INFO.exists() else platform.processor() or "unknown",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        load_average=round(psutil.getloadavg()[0], 2),
        python=platform.python_version(),
        postgresql=settings.get("server_version", "unknown"),
        postgresql_settings={name: value for name, value in settings.items() if name != "server_version"},
        kafka=DISTRIBUTIONS[instance.profile].removeprefix("kafka-"),
        redis=_redis_version(instance.redis_url),
        revision=_revision(project),
        measured_at=now.isoformat(timespec="seconds"),
        profile=instance.profile.value,
    )


def cpu_model(cpu_info: str) -> str:
    """The model named in /proc/cpuinfo."""
    for line in cpu_info.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return "unknown"


def _redis_version(url: str) -> str:
    client = Redis.from_url(url, socket_timeout=5)
    try:
        info = client.info("server")
        assert isinstance(info, dict)
        return str(info["redis_version"])
    finally:
        client.close()


def _revision(project: Path) -> str:
    """The commit; `unknown` outside a git work tree."""
    revision = _git(project, "rev-parse", "--short=12", "HEAD")
    if revision is None:
        return "unknown"
    return f"{revision}-changed" if _git(project, "status", "--porcelain", "--untracked-files=no") else revision


def _git(project: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
