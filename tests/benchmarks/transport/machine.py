"""On what it was measured. A figure without it is no figure."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import confluent_kafka
import psutil
from redis import Redis

from service.bench.machine import cpu_model

from .backends import Services

_CPU_INFO = Path("/proc/cpuinfo")
_PACKAGES = ("celery", "kombu", "confluent-kafka", "redis")


def describe(services: Services) -> dict[str, Any]:
    """Machine, versions, and how busy it is before the run."""
    with Redis.from_url(services.redis, socket_timeout=5) as redis:
        redis_version = dict(redis.info("server"))["redis_version"]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_model(_CPU_INFO.read_text()) if _CPU_INFO.exists() else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memoryGiB": round(psutil.virtual_memory().total / 2**30, 1),
        "loadBefore": [round(load, 2) for load in psutil.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "librdkafka": confluent_kafka.libversion()[0],
        "redisServer": redis_version,
        "measuredAt": datetime.now(UTC).isoformat(timespec="seconds"),
    }
