"""`python -m tests.chaos.effects`: kills workers at every moment of a call's life, and judges the effect ledger.

The same seed gives the same moments. Services and processes are the run's own and are removed afterwards.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from service.devstack.ports import DEFAULT_RANGE, choose_ports
from tests.chaos.effects.conduct import Conductor
from tests.chaos.effects.person import broken_after, settle_doubts
from tests.chaos.effects.plan import rounds
from tests.chaos.effects.verdict import broken, effects
from tests.chaos.effects.witness import Witness
from tests.integration.conftest import running_product, services_apart


@dataclass(frozen=True)
class Verdict:
    """What a run came to."""

    seed: int
    rounds: int
    exceptions: int
    in_doubt: int
    """Effects that a person had to look at."""
    settled: dict[str, int]
    """What the person said of them."""
    broken: dict[str, list[Any]]
    """What broke a promise."""


@click.command(help=__doc__)
@click.option("--seed", type=int, help="Chosen and told when it is not given.")
@click.option("--rounds", "count", default=200, show_default=True, help="Faults, one after the other.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def main(seed: int | None, count: int, as_json: bool) -> None:
    """Run on services of its own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    click.echo(f"seed {chosen}, {count} rounds", err=True)
    folder = Path(tempfile.mkdtemp(prefix=f"effects-{chosen}-"))
    verdict = run(chosen, count, folder, lambda text: click.echo(text, err=True))
    click.echo(json.dumps(asdict(verdict), default=str, indent=2) if as_json else render(verdict))
    sys.exit(1 if verdict.broken else 0)


def run(seed: int, count: int, logs: Path, say: Callable[[str], None]) -> Verdict:
    """Start services, the product and a witness, carry the rounds out, let a person settle what is in doubt, judge."""
    port = choose_ports(["witness"], {}, DEFAULT_RANGE)["witness"]
    own = {"SENTINAI_EGRESS_ALLOW": f"127.0.0.1:{port}", "SENTINAI_RECONCILE_AFTER_SECONDS": "5"}
    with ExitStack() as opened:
        witness = opened.enter_context(Witness(port))
        apart = opened.enter_context(services_apart("effects"))
        environment = {**apart.environment, **own}
        product = opened.enter_context(running_product(apart.settings, witness.url, logs, **environment))
        conductor = Conductor(product.fleet, product.system, witness, say)
        conductor.run(rounds(seed, count))
        tenant_id, accepted = conductor.tenant.tenant_id, len(conductor.accepted)
        found = effects(product.system, tenant_id, witness)
        wrong = broken(product.system, tenant_id, found, accepted)
        doubts = [effect for effect in found if effect.state == "unknown"]
        said = settle_doubts(conductor, doubts, random.Random(seed))
        wrong |= broken_after(effects(product.system, tenant_id, witness), said)
        if not conductor.client.ledger()["balanced"]:
            wrong["the ledger balances"] = [conductor.client.ledger()]
    return Verdict(seed, count, accepted, len(doubts), dict(Counter(said.values())), wrong)


def render(verdict: Verdict) -> str:
    """The verdict for people."""
    said = ", ".join(f"{count} {word}" for word, count in sorted(verdict.settled.items())) or "none"
    lines = [
        f"seed {verdict.seed}: {verdict.rounds} faults, {verdict.exceptions} exceptions",
        f"in doubt: {verdict.in_doubt} (a person said: {said})",
        *(f"BROKEN: {promise}: {rows}" for promise, rows in verdict.broken.items()),
        "no promise was broken" if not verdict.broken else "",
    ]
    return "\n".join(line for line in lines if line)


if __name__ == "__main__":
    main()
