"""`make mutations`: takes one guard out at a time, in a copy of the tree, and expects its tests to fail.

A guard whose removal no test notices is a promise that nobody keeps. The last line counts them. WORDS choose the
mutations whose promise contains them.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from tests.mutations import AREAS
from tests.mutations.mutation import Mutation
from tests.mutations.taking_out import Verdict, take_out
from tests.stack_fixture import services


@click.command(help=__doc__)
@click.argument("words", nargs=-1)
@click.option("--area", "areas", type=click.Choice(list(AREAS)), multiple=True, help="Only these; all by default.")
@click.option("--without-services", is_flag=True, help="Only those whose tests need no services.")
@click.option("--without-rounds", is_flag=True, help="Not those that a chaos round must notice.")
@click.option("--output", is_flag=True, help="Show what pytest said of those that were not noticed.")
def main(
    words: tuple[str, ...], areas: tuple[str, ...], without_services: bool, without_rounds: bool, output: bool
) -> None:
    """Run what was asked for; exit with 1 when something was not noticed."""
    # However it is told to end, what it started ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = [
        mutation
        for area in areas or AREAS
        for mutation in AREAS[area]
        if " ".join(words) in mutation.promise
        and not (without_services and (mutation.needs_services or mutation.round))
        and not (without_rounds and mutation.round)
    ]
    counted: Counter[Verdict] = Counter()
    with _services_for(chosen) as named, tempfile.TemporaryDirectory() as folder:
        for mutation in chosen:
            verdict, said = take_out(mutation, Path(folder) / "tree", named)
            counted[verdict] += 1
            click.echo(f"{verdict.value:8}  {mutation.promise}")
            if output and verdict is not Verdict.NOTICED:
                click.echo(said)
    counts = ", ".join(f"{counted[verdict]} {verdict.value.lower()}" for verdict in Verdict)
    click.echo(f"{len(chosen)} guards taken out: {counts}")
    sys.exit(0 if chosen and counted[Verdict.NOTICED] == len(chosen) else 1)


@contextmanager
def _services_for(chosen: list[Mutation]) -> Iterator[Mapping[str, str]]:
    """The variables that name the services: those of the environment, else of a stack of this run's own."""
    named = {name: value for name, value in os.environ.items() if name.endswith("_URL") or name.startswith("KAFKA_")}
    named |= {name: value for name, value in os.environ.items() if name.startswith("SENTINAI_")}
    if "DATABASE_URL" in named or not any(mutation.needs_services for mutation in chosen):
        yield named
        return
    with services(f"test-{os.getpid()}") as instance:
        yield instance.environment()


if __name__ == "__main__":
    main()
