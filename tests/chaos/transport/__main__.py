"""`python -m tests.chaos.transport`: a seeded chaos run of the Kafka transport. Ends with 1 when a promise was broken.

The same seed gives the same messages and the same faults. Evidence of a failed run is kept.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import click

from tests.brokers import KafkaCluster, kafka_cluster
from tests.chaos.transport.conduct import Conductor
from tests.chaos.transport.plan import Scale
from tests.chaos.transport.report import render
from tests.chaos.transport.verdict import COMMIT_PATIENCE, Verdict, judge

_AFTERWARDS = 240.0
"""Seconds that working off may take beyond publishing."""


@click.command(help=__doc__)
@click.option("--seed", type=int, help="Chosen and told when it is not given.")
@click.option("--messages", default=100_000, show_default=True)
@click.option("--consumers", default=8, show_default=True, help="Processes; a quarter of them are Celery workers.")
@click.option("--minutes", default=6.0, show_default=True, help="How long publishing takes and faults happen.")
@click.option("--gap", default=7.0, show_default=True, help="Seconds between faults, on average.")
@click.option("--brokers", default=3, show_default=True, help="Nodes of the cluster started for it; 3 are killed, too.")
@click.option("--servers", help="Use this cluster instead, and kill none of its brokers.")
@click.option(
    "--patience", default=COMMIT_PATIENCE, show_default=True, help="Seconds within which what is done is committed."
)
@click.option("--keep", is_flag=True, help="Keep the evidence of a good run as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def main(
    seed: int | None,
    messages: int,
    consumers: int,
    minutes: float,
    gap: float,
    brokers: int,
    servers: str | None,
    patience: float,
    keep: bool,
    as_json: bool,
) -> None:
    """Run, judge, report."""
    # However it is told to end, processes and brokers go with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    scale = Scale(chosen, messages, consumers, minutes * 60, gap, 1 if servers else brokers)
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{chosen}-"))
    _say(f"seed {chosen}; evidence goes to {folder}")
    if servers:
        verdict = run(scale, servers, folder, None, patience)
    else:
        with kafka_cluster(brokers) as cluster:
            verdict = run(scale, cluster.bootstrap_servers, folder, cluster if brokers >= 3 else None, patience)
    print(json.dumps(verdict.to_json(), indent=2) if as_json else render(verdict))
    if verdict.violations or keep:
        _say(f"the evidence is in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(bool(verdict.violations))


def run(scale: Scale, servers: str, folder: Path, brokers: KafkaCluster | None, patience: float) -> Verdict:
    """One run and its verdict, which is written beside its evidence."""
    left = Conductor(scale, servers, folder, _say, brokers).run(scale.seconds + _AFTERWARDS)
    verdict = judge(scale, left, patience)
    report = {"scale": asdict(scale), **verdict.to_json()}
    (folder / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    return verdict


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
