"""What `sentinai stack status` tells: everything a script needs to use a running instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.devstack.instance import Instance
from service.devstack.supervision import LIVE_STATES, Supervisor, log_file


@dataclass(frozen=True)
class ProcessRow:
    """One process of the table."""

    name: str
    state: str
    pid: int | None
    log: str


def process_rows(instance: Instance) -> list[ProcessRow]:
    """Every process of the instance's table; empty when its supervisor is not running."""
    states = Supervisor(instance).states().values()
    return [ProcessRow(s.name, s.state, s.pid, str(log_file(instance, s.name))) for s in states]


def describe(instance: Instance) -> dict[str, Any]:
    """The machine-readable status. `processes` lists those that have a pid; a URL is null where nothing serves it."""
    rows = process_rows(instance)
    live = {row.name for row in rows if row.state in LIVE_STATES}
    apis = [url for name, url in instance.api_urls.items() if name in live]
    api = apis[0] if apis else None
    return {
        "name": instance.name,
        "profile": instance.profile.value,
        "running": bool(live),
        "api_url": api,
        "api_urls": apis,
        "docs_url": f"{api}/docs" if api else None,
        # There is no console yet.
        "console_url": None,
        "flower_url": instance.url("flower") if "flower" in live else None,
        "database_url": instance.database_url,
        "database_owner_url": instance.owner_url,
        "kafka_bootstrap_servers": instance.bootstrap_servers,
        "redis_url": instance.redis_url,
        "tool_server_url": instance.url("tool-server") if "tool-server" in live else None,
        "processes": [{"name": row.name, "pid": row.pid, "log": row.log} for row in rows if row.pid is not None],
        "tenants": dict(instance.tenants),
        "samples": dict(instance.samples),
    }
