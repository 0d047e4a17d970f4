"""`move`: let the workers of a queue go on from somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import click
from confluent_kafka.admin._listoffsets import OffsetSpec

from ..consuming.tally import Tally
from ..inspection.reader import Place
from ..inspection.survey import Group
from .output import confirm, dry_run_option, json_option, print_json, print_table, yes_option
from .positions import Step, apply, plan, targets
from .target import AnswerNo, Target

_COLUMNS = ("partition", "from", "to", "skipped", "run_again")


@click.command(
    epilog="\b\nExamples:\n  transport move orders --to-time 2026-11-23T04:00:00Z --dry-run\n"
    "  transport move orders --to-latest\n  transport move orders --to-offset 3:1207 --yes\n"
    "  transport move orders --by -100"
)
@click.argument("queue")
@click.option("--to-earliest", is_flag=True, help="Run again everything the log still has.")
@click.option("--to-latest", is_flag=True, help="Skip everything that waits.")
@click.option("--to-offset", "offsets", multiple=True, metavar="P:O", help="Partition P to offset O; repeatable.")
@click.option("--to-time", "since", metavar="ISO", help="To the first message written at this time or later.")
@click.option("--by", "by", type=int, metavar="N", help="Each partition by N messages; negative: back.")
@dry_run_option
@yes_option
@json_option
@click.pass_obj
def move(
    target: Target,
    queue: str,
    to_earliest: bool,
    to_latest: bool,
    offsets: tuple[str, ...],
    since: str | None,
    by: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Move the position of a queue's consumer group: skip messages, or run them again.

    Refused while workers consume the queue: they would overwrite it. Forward, what was finished behind a long task
    stays finished. Backward, everything from there on is run again, marked as redelivered.
    """
    if sum([to_earliest, to_latest, bool(offsets), since is not None, by is not None]) != 1:
        raise click.UsageError("say where to: one of --to-earliest, --to-latest, --to-offset, --to-time, --by")
    moment = _moment(since) if since is not None else None
    [queue] = target.queues([queue])
    group = target.inspector.group_of(queue)
    tallies, commits = target.inspector.tallies(target.cluster.names.queue(queue), group)
    wanted = _wanted(target, tallies, moment, offsets, by, latest=to_latest)
    planned = [plan(place, tallies[place], commits.get(place), offset) for place, offset in sorted(wanted.items())]
    steps = [step for step in planned if step is not None]
    _show(queue, steps, as_json=as_json)
    members = target.inspector.survey.groups([group])[group]
    if dry_run or not steps:
        _warn_of(members)
        return
    _refuse_if_active(queue, members)
    skipped, repeated = sum(step.skipped for step in steps), sum(step.repeated for step in steps)
    confirm(f"Move {queue!r}: {skipped} messages are skipped, {repeated} are run again?", yes=yes)
    apply(target.cluster, group, steps)
    click.echo(f"moved {len(steps)} partitions of {queue!r}", err=True)


def _wanted(
    target: Target,
    tallies: Mapping[Place, Tally],
    moment: datetime | None,
    offsets: tuple[str, ...],
    by: int | None,
    *,
    latest: bool,
) -> dict[Place, int]:
    """The offset that each partition is to go on from, by the one way that is given; none: to the earliest."""
    if moment is not None:
        return _at(target, tallies, moment)
    if offsets:
        return _named(offsets, tallies)
    return {place: _end(counted, by, latest) for place, counted in tallies.items()}


def _end(counted: Tally, by: int | None, latest: bool) -> int:
    if by is not None:
        return counted.first + by
    return counted.end if latest else counted.low


def _show(queue: str, steps: list[Step], *, as_json: bool) -> None:
    rows = [
        {
            "queue": queue,
            "partition": step.place[1],
            "from": step.at,
            "to": step.to,
            "skipped": step.skipped,
            "run_again": step.repeated,
        }
        for step in steps
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, _COLUMNS, "every partition is there already")


def _refuse_if_active(queue: str, group: Group) -> None:
    if group.members:
        raise AnswerNo(
            f"{queue!r} is being consumed by {_listed(group)}; stop these workers first, or let them cancel the queue "
            "(a killed one stays a member until its session ends, 6 s by default)"
        )


def _warn_of(group: Group) -> None:
    if group.members:
        click.echo(f"! while {_listed(group)} consumes it, the queue cannot be moved", err=True)


def _listed(group: Group) -> str:
    return ", ".join(sorted({member.title for member in group.members}))


def _at(target: Target, tallies: Mapping[Place, Tally], since: datetime) -> dict[Place, int]:
    spec = OffsetSpec.for_timestamp(int(since.timestamp() * 1000))
    found = target.inspector.survey.offsets(list(tallies), spec)
    # A partition without a message that young is told as -1: it goes to its end.
    return {place: found[place] if found.get(place, -1) >= 0 else counted.end for place, counted in tallies.items()}


def _named(pairs: tuple[str, ...], tallies: Mapping[Place, Tally]) -> dict[Place, int]:
    try:
        return targets(pairs, tallies)
    except ValueError as mistake:
        raise click.UsageError(str(mistake)) from mistake


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as mistake:
        raise click.UsageError(f"{text!r} is not a time in ISO 8601, like 2026-11-23T04:00:00Z") from mistake
    return found if found.tzinfo else found.replace(tzinfo=UTC)
