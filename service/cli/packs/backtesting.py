"""`sentinai packs backtest`: what a change would have done to the last real exceptions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from service.cli.packs.files import PackUnreadableError, parsed, read_file
from service.cli.packs.places import Backtest, Json, Place, Progress, key_of, place_options, the_place
from service.cli.printing import json_option, print_json
from service.domain.packs.reading.documents import PackKind
from service.engine.backtest import MOST_EXCEPTIONS
from service.engine.pack_pairs import PackKey

_SECONDS_BETWEEN_LINES = 1.0


@click.command(
    epilog="\b\nExamples:\n  sentinai packs backtest --tenant ACME Trading\n"
    "  sentinai packs backtest --tenant ACME trading.domain.yaml acme.tenant.yaml --last 10000\n"
    "  sentinai packs backtest --url https://sentinai.example --key $KEY Trading --version 4 --json\n"
    "  sentinai packs backtest --tenant ACME Trading --type LATE --fail-on-change"
)
@click.argument("packs", metavar="FILE...|NAME", nargs=-1, required=True)
@click.option("--version", type=click.IntRange(1), help="Of pack NAME.  [default: the newest]")
@click.option(
    "--last", default=1_000, show_default=True, type=click.IntRange(1, MOST_EXCEPTIONS), help="So many exceptions."
)
@click.option("--type", "exception_type", help="Only exceptions of this type.")
@click.option(
    "--differences", default=20, show_default=True, type=click.IntRange(0, 1_000), help="Show at most so many."
)
@click.option("--fail-on-change", is_flag=True, help="Exit code 1 when any decision would differ.")
@place_options
@json_option
def backtest(
    packs: tuple[str, ...],
    version: int | None,
    last: int,
    exception_type: str | None,
    differences: int,
    fail_on_change: bool,
    as_json: bool,
    **where: Any,
) -> None:
    """Decide the last real exceptions again with a draft, side by side with what happened. Nothing has an effect.

    NAME is a stored pack (`tenant`: the tenant's own); FILEs (a domain pack, a tenant pack, or both) are stored as
    drafts first, and stay the same drafts when they are sent again. Exit code 1 when an exception could not be
    decided any more that could be before.
    """
    place = the_place(**where)
    key, chosen, other = _target(place, packs, version)
    with _progress(quiet=as_json) as progress:
        wanted = Backtest(chosen, other, last, exception_type, differences)
        report = place.backtest(key, wanted, progress)
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["failures"]["added"] or (fail_on_change and report["changed"]):
        raise SystemExit(1)


def _target(place: Place, packs: tuple[str, ...], version: int | None) -> tuple[PackKey, int | None, int | None]:
    if not all(Path(one).is_file() for one in packs):
        if len(packs) > 1:
            raise click.UsageError("give one NAME, or files that exist")
        return key_of(packs[0]), version, None
    files = sorted((read_file(Path(one)) for one in packs), key=lambda file: file.given.kind is PackKind.TENANT)
    if version is not None or len(files) > 2 or len({file.given.kind for file in files}) < len(files):
        raise click.UsageError("give a domain pack, a tenant pack, or one of each, and no --version with files")
    for file in files:
        parsed(file, files)
        if file.given.kind is PackKind.DOMAIN and not file.key.name:
            raise PackUnreadableError(file.path, "names no domain")
    versions = [place.put(file, "for a backtest")["version"] for file in files]
    return files[0].key, versions[0], versions[1] if len(versions) > 1 else None


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A line on stderr about once a second: readable in a terminal and in a job's log."""
    told = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal told
        if not quiet and time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            click.echo(f"{done:,} of {of:,} exceptions decided again", err=True)

    yield tell


def _print(report: Json) -> None:
    click.echo(
        f"{report['decided']:,} exceptions decided again in {report['seconds']:.1f} s; {report['changed']:,} change"
    )
    for why, number in report["skipped"].items():
        click.echo(f"  {number:,} left out: {why}")
    for aspect, number in report["changes"].items():
        if number:
            click.echo(f"  {number:>7,}  {aspect}")
    approvals, failures = report["approvals"], report["failures"]
    click.echo(
        f"approvals: {approvals['before']:,} before, {approvals['after']:,} after "
        f"({approvals['more']:,} more, {approvals['less']:,} less)"
    )
    _print_severities(report["severities"])
    for change in report["playbooks"]:
        click.echo(f"playbook {change['before']} -> {change['after']}: {change['exceptions']:,}")
    click.echo(
        f"failures: {failures['before']:,} before, {failures['after']:,} after "
        f"({failures['added']:,} new, {failures['removed']:,} no more)"
    )
    for rule, number in failures["byRule"].items():
        click.echo(f"  {number:>7,}  {rule}")
    for rule, number in report["rulesWithAbsentFields"].items():
        click.echo(f"{rule} refers to an absent field in {number:,}")
    for one in report["differences"]:
        click.echo(f"{one['exceptionId']}  {', '.join(one['changes'])}")
        for side in ("before", "after"):
            click.echo(f"    {side:6}  {_side(one[side])}")
    if report["differencesLeftOut"]:
        click.echo(f"and {report['differencesLeftOut']:,} more (--differences)")


def _print_severities(matrix: dict[str, dict[str, int]]) -> None:
    click.echo("severity (before -> after):")
    for before, row in matrix.items():
        click.echo(f"  {before:9} " + "  ".join(f"{after} {number:,}" for after, number in row.items()))


def _side(side: Json) -> str:
    if side["error"]:
        return str(side["error"])
    tools = ", ".join(f"{tool['tool']}({tool['parameters']})" for tool in side["tools"])
    asked = {True: "approval", False: "no approval", None: "approval unknown"}[side["approval"]]
    return f"{side['exceptionType']} {side['severity']}, {asked}, {side['playbook'] or 'no playbook'} {tools}".rstrip()
