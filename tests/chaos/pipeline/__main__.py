"""`sentinai chaos`, as `python -m tests.chaos.pipeline`: breaks a running product by a seed, under load, and judges it.

Exit codes: 0 every invariant held; 1 some did not; 2 a round could not be carried out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from tests.chaos.pipeline.campaign import Campaign, NotCarriedOutError, Results, until
from tests.chaos.pipeline.evidence import planned, scale_of
from tests.chaos.pipeline.plan import Round, Scale, exact_round, round_of
from tests.chaos.pipeline.profiles import PROFILES, Profile
from tests.chaos.pipeline.report import Line, as_document, table
from tests.chaos.pipeline.rounds import QUIET_WITHIN

_RED = 1
_NOT_RUN = 2
_SCALE = Scale()

_profile = click.option(
    "--profile",
    "profile_name",
    type=click.Choice(list(PROFILES)),
    default=next(iter(PROFILES)),
    show_default=True,
    help="The world: `cluster` has three brokers and several of each process, `small` one of each.",
)
_exceptions = click.option(
    "--exceptions", default=_SCALE.exceptions, show_default=True, type=click.IntRange(10, 5000), help="Of a round."
)
_seconds = click.option(
    "--seconds", default=_SCALE.seconds, show_default=True, type=click.FloatRange(2, 300), help="They come in within."
)
_patience = click.option(
    "--patience",
    default=QUIET_WITHIN,
    show_default=True,
    type=click.FloatRange(1, 600),
    help="Seconds after the last fault within which everything is at rest.",
)
_json = click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of the table.")
_keep = click.option("--keep", is_flag=True, help="Keep the evidence of good rounds as well.")


_EXAMPLES = """
\b
Examples:
  sentinai chaos faults                                        what can strike
  sentinai chaos run --rounds 6                                a seed of its own choice, which it tells
  sentinai chaos run --seed 7 --rounds 10 --faults kill-worker,kill-broker
  sentinai chaos run --seed 7 --round 4 --keep                 one round again, its evidence kept
  sentinai chaos replay /tmp/chaos-7-x1/round-7-4              the round of a folder of evidence
  sentinai chaos all --seeds 20 --results chaos.jsonl          every fault; goes on where it was interrupted
\b
Exit code: 0 every invariant held; 1 some did not; 2 a round could not be carried out.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXAMPLES)
def main() -> None:
    """Break a product of its own by a seed, under load, and judge it by its books."""
    # However it is told to end, processes and services go with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@main.command()
@click.option("--seed", type=int, help="Chosen and told when it is not given.")
@click.option("--rounds", default=1, show_default=True, type=click.IntRange(1, 10_000), help="How many.")
@click.option("--round", "number", type=click.IntRange(1), help="Only this one of the seed's rounds.")
@click.option("--faults", metavar="A,B", help="Only these.  [default: all of the profile]")
@click.option("--calm", is_flag=True, help="No fault at all: what the figures are when nothing breaks.")
@_profile
@_exceptions
@_seconds
@_patience
@_keep
@_json
def run(
    seed: int | None,
    rounds: int,
    number: int | None,
    faults: str | None,
    calm: bool,
    profile_name: str,
    exceptions: int,
    seconds: float,
    patience: float,
    keep: bool,
    as_json: bool,
) -> None:
    """Run rounds of a seed. The same seed, faults, profile and amount give the same rounds."""
    profile = PROFILES[profile_name]
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    names = [] if calm else _chosen_faults(profile, faults)
    scale = Scale(exceptions, seconds)
    numbers = [number] if number else range(1, rounds + 1)
    plans = [round_of(chosen, one, names, scale) if names else exact_round(chosen, one, [], scale) for one in numbers]
    _carry_out(Campaign(profile, scale, _folder(chosen), _say, keep, patience), plans, as_json)


@main.command("all")
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(1, 1000), help="Of each fault.")
@click.option("--first-seed", default=1, show_default=True, type=int, help="The seeds are this one and those after.")
@click.option("--faults", metavar="A,B", help="Only these.  [default: all of the profile]")
@click.option("--hours", default=8.0, show_default=True, type=click.FloatRange(0.01, 99), help="Then no more.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("chaos-results/rounds.jsonl"),
    show_default=True,
    help="What was run already is not run again; evidence goes beside it.",
)
@_profile
@_exceptions
@_seconds
@_patience
@_json
def run_all(
    seeds: int,
    first_seed: int,
    faults: str | None,
    hours: float,
    results: Path,
    profile_name: str,
    exceptions: int,
    seconds: float,
    patience: float,
    as_json: bool,
) -> None:
    """Meet every fault with many seeds, one fault a round. Goes on where it was interrupted."""
    profile = PROFILES[profile_name]
    names = _chosen_faults(profile, faults)
    scale = Scale(exceptions, seconds)
    kept = Results(results)
    done = {(line.seed, line.faults) for line in kept.lines()}
    plans = [
        exact_round(seed, place + 1, [name], scale)
        for seed in range(first_seed, first_seed + seeds)
        for place, name in enumerate(names)
        if (seed, (name,)) not in done
    ]
    # Worlds are dear: rounds that need the same sort follow one another.
    plans.sort(key=lambda plan: sorted(profile.needs(plan.faults)))
    _say(f"{len(plans)} rounds to run, {len(done)} done before; results in {results}")
    campaign = Campaign(profile, scale, results.with_suffix(""), _say, patience=patience)
    _carry_out(campaign, until(plans, hours * 3600), as_json, kept)


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_keep
@_json
def replay(folder: Path, keep: bool, as_json: bool) -> None:
    """Meet the round again whose evidence is in FOLDER."""
    document = planned(folder)
    profile = PROFILES[document["profile"]]
    scale = scale_of(document)
    plan = exact_round(document["seed"], document["round"], document["faults"], scale)
    _carry_out(Campaign(profile, scale, _folder(plan.seed), _say, keep), [plan], as_json)


@main.command("faults")
@_profile
@_json
def list_faults(profile_name: str, as_json: bool) -> None:
    """List the faults of a profile, with a line each."""
    profile = PROFILES[profile_name]
    summaries = profile.summaries()
    if as_json:
        click.echo(json.dumps(summaries, indent=2))
        return
    for name, summary in summaries.items():
        click.echo(f"{name:28}  {summary}")
    for name, why in profile.left_out().items():
        click.echo(f"{name:28}  not on this machine: {why}", err=True)


def _carry_out(campaign: Campaign, plans: Iterable[Round], as_json: bool, kept: Results | None = None) -> None:
    """Run, print what came of it, and exit accordingly."""
    # Whatever the services say while they start goes to stderr: stdout is for the result alone.
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lines: list[Line] = kept.lines() if kept else []
    stopped = False
    try:
        for line in campaign.run(plans):
            lines.append(line)
            if kept:
                kept.add(line)
    except KeyboardInterrupt:
        _say("interrupted")
        stopped = True
    except NotCarriedOutError as error:
        _say(str(error))
        stopped = True
    print(json.dumps(as_document(lines), indent=2) if as_json else table(lines), file=stdout, flush=True)
    red = sorted({name for line in lines for name in line.red})
    if red:
        _say(f"red: {', '.join(red)}")
    sys.exit(_RED if red else _NOT_RUN if stopped else 0)


def _chosen_faults(profile: Profile, given: str | None) -> Sequence[str]:
    known = profile.summaries()
    if given is None:
        return sorted(known)
    names = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = ", ".join(unknown) or "nothing"
        raise click.UsageError(f"{what} is no fault of the profile {profile.name}; there are: {', '.join(known)}")
    return names


def _folder(seed: int) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S', time.gmtime())} {what}", err=True)


if __name__ == "__main__":
    main(prog_name="sentinai chaos")
