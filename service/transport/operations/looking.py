"""Commands that look: topics, bindings, lag, owners."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from ..inspection.inspector import PartitionReport, QueueReport
from ..inspection.moments import age
from ..inspection.survey import Group
from .output import json_option, print_json, print_table
from .target import AnswerNo, Target
from .topics import describe_topics

_QUEUE_COLUMNS = ("queue", "lag", "oldest", "age", "partitions", "consumers", "group", "state")
_PARTITION_COLUMNS = (
    *("queue", "partition", "leader", "low", "committed", "end", "lag", "oldest", "age", "owner", "problem"),
)
_TOPICS_NAMED = 3
_OWNER_COLUMNS = ("queue", "group", "state", "member", "client_id", "host", "partitions")
_TOPIC_COLUMNS = (*("topic", "kind", "queue", "partitions", "replication", "under_replicated", "kept", "min_insync"),)


@click.command(epilog="\b\nExamples:\n  transport topics\n  transport topics --all --json")
@click.option("--all", "everything", is_flag=True, help="Also topics under the prefix that are not the transport's.")
@json_option
@click.pass_obj
def topics(target: Target, everything: bool, as_json: bool) -> None:
    """List queues and the transport's own topics: partitions, replicas, the settings that matter.

    With an empty prefix any topic of the cluster could be a queue; listed are those that somebody consumes or did,
    or that an exchange feeds.
    """
    rows = describe_topics(target, everything=everything)
    if as_json:
        print_json(rows)
        return
    shown = [{**row, "min_insync": row["config"].get("min.insync.replicas")} for row in rows]
    print_table(shown, _TOPIC_COLUMNS, "no topic of the transport is there yet")
    for row in (row for row in rows if row["leaderless"]):
        click.echo(f"! {row['topic']}: {row['leaderless']} partitions have no leader", err=True)


@click.command(epilog="\b\nExamples:\n  transport bindings\n  transport bindings --json")
@json_option
@click.pass_obj
def bindings(target: Target, as_json: bool) -> None:
    """List which queue gets what of which exchange, as all processes share it."""
    shared = target.cluster.bindings
    shared.check()
    types = {exchange.name: exchange.type for exchange in shared.exchanges()}
    rows = [
        {
            "exchange": binding.exchange,
            "type": types.get(binding.exchange),
            "routing_key": binding.routing_key,
            "queue": binding.queue,
        }
        for binding in sorted(shared.bindings(), key=lambda one: (one.exchange, one.queue, one.routing_key))
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ("exchange", "type", "routing_key", "queue"), "no exchange has a binding")


@click.command(
    epilog="\b\nExamples:\n  transport lag\n  transport lag orders invoices --partitions\n"
    "  transport lag orders --watch\n  transport lag orders --fail-above 1000 --fail-older 300 || alert"
)
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@click.option("-p", "--partitions", "by_partition", is_flag=True, help="A line for each partition.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.2), default=2.0, show_default=True, help="Seconds between looks.")
@click.option("--fail-above", type=click.IntRange(0), metavar="N", help="Exit code 3 when a queue's lag is above N.")
@click.option("--fail-older", type=click.FloatRange(0), metavar="SECONDS", help="The same for the age of the oldest.")
@json_option
@click.pass_obj
def lag(
    target: Target,
    queues: tuple[str, ...],
    by_partition: bool,
    watch: bool,
    interval: float,
    fail_above: int | None,
    fail_older: float | None,
    as_json: bool,
) -> None:
    """Tell how much waits in queues, since when, and who works it; also what waits for its time, and dead letters.

    Lag counts messages that are not finished, handed out or not. Without names: all queues known to exist.
    """
    while True:
        now = datetime.now(UTC)
        reports = target.inspector.queues(target.queues(queues))
        if watch and not as_json:
            click.clear()
        _print_lag(target, reports, now, by_partition=by_partition, as_json=as_json, whole=not queues)
        if not watch:
            break
        time.sleep(interval)
    _fail_if(reports, now, fail_above, fail_older)


@click.command(epilog="\b\nExamples:\n  transport owners\n  transport owners orders --json")
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@json_option
@click.pass_obj
def owners(target: Target, queues: tuple[str, ...], as_json: bool) -> None:
    """Tell which process has which partitions. The client id is host:pid, unless it was configured."""
    named = {target.inspector.group_of(queue): queue for queue in target.queues(queues)}
    if not queues:
        named[target.cluster.names.mover_group()] = "(delayed messages)"
    groups = target.inspector.survey.groups(list(named))
    rows = [row for name, queue in named.items() if name in groups for row in _owner_rows(queue, groups[name])]
    if as_json:
        print_json(rows)
    else:
        shown = [{**row, "partitions": _ranges(row["partitions"])} for row in rows]
        print_table(shown, _OWNER_COLUMNS, "no queue is known yet")


def _print_lag(
    target: Target, reports: Sequence[QueueReport], now: datetime, *, by_partition: bool, as_json: bool, whole: bool
) -> None:
    delays = [report for report in target.inspector.delays() if report.waiting] if whole else []
    dead = target.inspector.poison() if whole else None
    if as_json:
        print_json({"at": now, "queues": [_as_json(one) for one in reports], "delays": delays, "dead_letters": dead})
        return
    if by_partition:
        rows = [_partition_row(report, part, now) for report in reports for part in report.partitions]
        print_table(rows, _PARTITION_COLUMNS, "no queue is known yet")
    else:
        print_table([_queue_row(report, now) for report in reports], _QUEUE_COLUMNS, "no queue is known yet")
    for problem in (f"{report.queue}: {problem}" for report in reports for problem in report.problems):
        click.echo(f"! {problem}", err=True)
    if delays:
        click.echo()
        print_table([{**_fields(one)} for one in delays], ("topic", "waiting", "next_move"), "")
    if dead:
        click.echo(f"\n{dead} dead letters wait on {target.cluster.options.poison_topic}; see `dead-letters`")


def _fail_if(reports: Sequence[QueueReport], now: datetime, above: int | None, older: float | None) -> None:
    asked = above is not None or older is not None
    faults = [f"{report.queue}: {problem}" for report in reports for problem in report.problems if asked]
    for report in reports:
        if above is not None and report.lag > above:
            faults.append(f"{report.queue}: {report.lag} messages wait, more than {above}")
        if older is not None and report.oldest is not None and (now - report.oldest).total_seconds() > older:
            faults.append(f"{report.queue}: the oldest message waits for {age(report.oldest, now)}")
    if faults:
        raise AnswerNo("; ".join(faults))


def _queue_row(report: QueueReport, now: datetime) -> dict[str, Any]:
    return {
        **_fields(report),
        "lag": report.lag,
        "oldest": report.oldest,
        "age": age(report.oldest, now),
        "partitions": len(report.partitions),
        "consumers": len(report.owners),
    }


def _partition_row(report: QueueReport, part: PartitionReport, now: datetime) -> dict[str, Any]:
    return {**_fields(part), "queue": report.queue, "age": age(part.oldest, now)}


def _owner_rows(queue: str, group: Group) -> list[dict[str, Any]]:
    common = {"queue": queue, "group": group.name, "state": group.state, "protocol": group.protocol}
    if not group.members:
        return [{**common, "member": None, "client_id": None, "host": None, "instance_id": None, "partitions": []}]
    return [
        {
            **common,
            "member": member.instance_id or member.member_id,
            "client_id": member.client_id,
            "host": member.host,
            "instance_id": member.instance_id or None,
            "partitions": [{"topic": topic, "partition": number} for topic, number in member.places],
        }
        for member in group.members
    ]


def _ranges(places: Sequence[Mapping[str, Any]]) -> str:
    """Partitions as ``0-3, 7``, with their topics when there are several."""
    by_topic: dict[str, list[list[int]]] = {}
    for place in places:
        runs = by_topic.setdefault(place["topic"], [])
        if runs and runs[-1][-1] == place["partition"] - 1:
            runs[-1].append(place["partition"])
        else:
            runs.append([place["partition"]])
    told = {
        topic: ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
        for topic, runs in by_topic.items()
    }
    if len(told) > _TOPICS_NAMED:
        return f"{len(places)} partitions of {len(told)} topics"
    return "; ".join(f"{topic}: {runs}" for topic, runs in told.items()) if len(told) > 1 else "".join(told.values())


def _as_json(report: QueueReport) -> dict[str, Any]:
    return {**_fields(report), "lag": report.lag, "oldest": report.oldest, "owners": list(report.owners)}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
