"""`reshard`: give a queue more partitions."""

from __future__ import annotations

import time

import click
from confluent_kafka.cimpl import NewPartitions

from .output import confirm, dry_run_option, yes_option
from .target import AnswerNo, Target

_LOOK_EVERY = 0.5
_PAUSE = 0.02
_TELL_EVERY = 5.0


@click.command(
    epilog="\b\nExamples:\n  transport reshard orders --partitions 16 --dry-run\n"
    "  transport reshard orders --partitions 16 --wait-empty 600 --yes"
)
@click.argument("queue")
@click.option("--partitions", type=click.IntRange(1), required=True, help="How many there shall be.")
@click.option("--wait-empty", type=click.FloatRange(0), metavar="SECONDS", help="First wait until nothing is left.")
@dry_run_option
@yes_option
@click.pass_obj
def reshard(target: Target, queue: str, partitions: int, wait_empty: float | None, dry_run: bool, yes: bool) -> None:
    """Give a queue more partitions, so that more workers can share it. Running workers notice within seconds.

    A key's messages go to another partition from then on. What of the key still waits in the old one may then run
    beside, or after, what comes later: where order per key matters, stop publishing and use --wait-empty.
    """
    [queue] = target.queues([queue])
    topic = target.cluster.names.queue(queue)
    now = target.cluster.topics.partitions(topic)
    if partitions < now:
        raise AnswerNo(
            f"{queue!r} has {now} partitions, and Kafka cannot take any away. To get fewer: stop publishing, let the "
            f"queue run empty (`lag {queue}`), stop its workers, delete the queue, and declare it again with "
            f"partitions={partitions}; or declare a queue of another name and route to that"
        )
    if partitions == now:
        click.echo(f"{queue!r} has {now} partitions already", err=True)
        return
    waiting = _lag(target, queue)
    click.echo(f"{queue!r}: {now} → {partitions} partitions; {waiting} messages are unfinished")
    if waiting and wait_empty is None:
        click.echo(f"! the order of keys among these {waiting} and what comes later is not kept", err=True)
    if not dry_run:
        confirm("Go on? Partitions cannot be taken away again.", yes=yes)
        if wait_empty is not None:
            _wait_until_empty(target, queue, wait_empty)
    _grow(target, topic, partitions, only_ask=dry_run)
    if not dry_run:
        click.echo(f"{queue!r} has {partitions} partitions", err=True)


def _wait_until_empty(target: Target, queue: str, seconds: float) -> None:
    began, told = time.monotonic(), 0.0
    while waiting := _lag(target, queue):
        passed = time.monotonic() - began
        if passed >= seconds:
            raise AnswerNo(
                f"{queue!r} still has {waiting} unfinished messages after {seconds:g} s; nothing was changed"
            )
        if passed - told >= _TELL_EVERY:
            told = passed
            click.echo(f"{waiting} messages are unfinished; waited {passed:.0f} of {seconds:g} s", err=True)
        time.sleep(_LOOK_EVERY)


def _lag(target: Target, queue: str) -> int:
    [report] = target.inspector.queues([queue], ages=False)
    if report.problems:
        raise click.ClickException(f"{queue!r} cannot be counted: {'; '.join(report.problems)}")
    return report.lag


def _grow(target: Target, topic: str, partitions: int, *, only_ask: bool) -> None:
    timeout = target.cluster.options.request_timeout
    asked = [NewPartitions(topic, partitions)]
    [future] = target.cluster.topics.admin.create_partitions(
        asked, request_timeout=timeout, validate_only=only_ask
    ).values()
    future.result(timeout + 1)
    deadline = time.monotonic() + timeout
    # The controller decides; the brokers know it some milliseconds later.
    while not only_ask and target.cluster.topics.partitions(topic) < partitions and time.monotonic() < deadline:
        time.sleep(_PAUSE)
