"""`python -m tests.peers`: run kombu's and Celery's integration suites on Kafka, or on Redis as the control."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from service.devstack.cache import cache_folder
from tests.peers.environment import environment
from tests.peers.results import SuiteResult, as_json, summary
from tests.peers.running import run
from tests.peers.services import kafka_servers, redis_server
from tests.peers.sources import sources
from tests.peers.suites import SUITES, Broker


@click.command(help=__doc__)
@click.option("--suite", "suites", type=click.Choice(sorted(SUITES)), multiple=True, help="Which; both by default.")
@click.option("--on", "kinds", type=click.Choice(["kafka", "redis"]), multiple=True, help="Kafka by default.")
@click.option("-k", "select", default="", help="Only tests that match, as pytest's -k.")
@click.option(
    "--logs", type=click.Path(path_type=Path), default=Path(".stack/peers-logs"), help="Folder of pytest's output."
)
@click.option(
    "--option", "given", multiple=True, metavar="NAME=JSON", help="An option of the transport, e.g. delays=false."
)
@click.option("--json", "print_json", is_flag=True, help="Print the result as JSON; progress goes to stderr.")
def main(
    suites: tuple[str, ...], kinds: tuple[str, ...], select: str, logs: Path, given: tuple[str, ...], print_json: bool
) -> None:
    """Run the suites asked for; exit with 1 when a test fails on Kafka that should not."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    logs.mkdir(parents=True, exist_ok=True)
    options = {name: json.loads(value) for name, _, value in (option.partition("=") for option in given)}
    runs = [(name, kind) for kind in kinds or ("kafka",) for name in suites or ("kombu", "celery")]
    results = [_run(name, kind, select, logs, options) for name, kind in runs]
    if print_json:
        click.echo(json.dumps([as_json(result) for result in results], indent=2))
    else:
        click.echo("\n".join(["", *map(summary, results)]))
    sys.exit(0 if all(result.succeeded for result in results if result.on == "kafka") else 1)


def _run(name: str, kind: str, select: str, logs: Path, given: Mapping[str, Any]) -> SuiteResult:
    suite, cache = SUITES[name], cache_folder(os.environ)
    _tell(f"{name} on {kind}")
    code, programs = sources(cache, suite.package), environment(cache)
    prefix = f"peers-{uuid.uuid4().hex[:8]}-"
    with contextlib.ExitStack() as running:
        port = running.enter_context(redis_server())
        servers = running.enter_context(kafka_servers(prefix)) if kind == "kafka" else ""
        options = {"topic_prefix": prefix, **given} if kind == "kafka" else {}
        log = logs / f"{name}-{kind}.log"
        result = run(suite, Broker(kind, servers, port, options), code, programs, select, log, _tell)
    _tell(f"  what pytest printed: {log}")
    return result


def _tell(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
