"""How soon work goes on after PostgreSQL: `python -m tests.benchmarks.outages [--runs 5]`.

Services and a fleet of its own, under a steady load. PostgreSQL is stopped in the middle of it, immediately (as a crash
does) or fast (as an administrator does), and its supervisor starts it again. What counts is the time from the moment
at which it accepts connections again to the first exception that is resolved, and to the last of those that had been
accepted before it stopped. No exception may have paid for it with an attempt.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import psutil
import psycopg2
import requests
from sqlalchemy import text

from service.devstack.instance import Instance
from service.devstack.status import describe
from service.settings import load_settings
from tests.client import wait_for
from tests.integration.conftest import Product, migrate, running_product
from tests.stack_fixture import services
from tests.tenants import sample

KINDS = {"immediate": signal.SIGQUIT, "fast": signal.SIGINT}
BULK = 10


@click.command(help=__doc__)
@click.option("--runs", default=5, show_default=True, help="Of each kind of stop.")
@click.option("--rate", default=50, show_default=True, help="Exceptions a second.")
def main(runs: int, rate: int) -> None:
    """Measure, and print a line a run and a table."""
    with services(f"test-outages-{os.getpid()}") as instance, tempfile.TemporaryDirectory() as logs:
        environment = instance.environment()
        migrate(environment)
        url = str(instance.url("tool-server"))
        with running_product(load_settings(environment), url, Path(logs), **environment) as product:
            found = {kind: [_measured(product, instance, kind, rate) for _ in range(runs)] for kind in KINDS}
    click.echo("stop       first resolved after (min/median/max)   all accepted before (min/median/max)")
    for kind, times in found.items():
        columns = [sorted(one[number] for one in times) for number in (0, 1)]
        shown = [f"{c[0]:.2f} / {statistics.median(c):.2f} / {c[-1]:.2f} s" for c in columns]
        click.echo(f"{kind:10} {shown[0]:39} {shown[1]}")


def _measured(product: Product, instance: Instance, kind: str, rate: int) -> tuple[float, float]:
    tenant = product.tenant()
    with _load(product, tenant.key, rate) as accepted:
        wait_for(lambda: product.client(tenant).ledger()["resolved"] > rate)
        before = list(accepted)
        pid = next(one["pid"] for one in describe(instance)["processes"] if one["name"] == "postgres")
        os.kill(pid, KINDS[kind])
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=30)
        back = _accepting(product.settings.database_url)
        first = _seconds(product, "SELECT min(updated_at) FROM exceptions WHERE status = 'RESOLVED'", back)
        wait_for(lambda: _unfinished(product, before) == 0, 60)
        last = _seconds(product, f"SELECT max(updated_at) FROM exceptions {_AMONG}", back, before)
    wait_for(lambda: _unfinished(product, list(accepted)) == 0, 60)
    with product.system.begin() as connection:
        paid = connection.execute(
            text("SELECT count(*) FROM events WHERE tenant_id = :t AND (attempt > 1 OR type = 'RetryScheduled')"),
            {"t": tenant.tenant_id},
        ).scalar()
    assert paid == 0, f"{paid} events of attempts that an outage used up"
    click.echo(
        f"{kind}: first {first:.2f} s, {len(before)} accepted before {last:.2f} s, load {os.getloadavg()[0]:.0f}"
    )
    return first, last


_AMONG = "WHERE exception_id = ANY(CAST(:ids AS uuid[]))"


@contextmanager
def _load(product: Product, key: str, rate: int) -> Iterator[list[str]]:
    """Post steadily, as a careful source does; the ids that were accepted so far."""
    accepted: list[str] = []
    stopping = threading.Event()

    def post() -> None:
        session = requests.Session()
        session.headers["X-API-KEY"] = key
        while not stopping.wait(BULK / rate):
            body = {"items": [sample("straight") for _ in range(BULK)]}
            headers = {"Idempotency-Key": os.urandom(16).hex()}
            while not stopping.is_set():
                with suppress(requests.RequestException):
                    answer = session.post(
                        f"{product.fleet.api_url}/exceptions/batch", json=body, headers=headers, timeout=15
                    )
                    if answer.status_code == requests.codes.accepted:
                        accepted.extend(item["exceptionId"] for item in answer.json()["items"])
                        break
                stopping.wait(0.2)

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield accepted
    finally:
        stopping.set()
        thread.join()


def _accepting(url: str) -> float:
    """When it answered again."""
    deadline = time.time() + 60
    while time.time() < deadline:
        with suppress(psycopg2.Error):
            connection = psycopg2.connect(url, connect_timeout=2)
            connection.close()
            return time.time()
        time.sleep(0.01)
    raise TimeoutError("PostgreSQL did not come back")


def _seconds(product: Product, statement: str, since: float, ids: list[str] | None = None) -> float:
    """How long after `since` the time was that a statement finds, once it finds one."""
    statement += "" if ids is not None else " AND updated_at > to_timestamp(:since)"
    found: list[float] = []

    def looked() -> bool:
        with suppress(Exception), product.system.begin() as connection:
            moment = connection.execute(text(statement), {"since": since, "ids": ids}).scalar()
            found[:] = [] if moment is None else [moment.timestamp()]
        return bool(found)

    wait_for(looked, 60)
    return max(0.0, found[0] - since)


def _unfinished(product: Product, ids: list[str]) -> int:
    with suppress(Exception), product.system.begin() as connection:
        statement = f"SELECT count(*) FROM exceptions {_AMONG} AND status <> 'RESOLVED'"
        return int(connection.execute(text(statement), {"ids": ids}).scalar() or 0)
    return -1


if __name__ == "__main__":
    main()
