"""`peek`: show messages without consuming them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from ..consuming.offsets import read_islands
from ..errors import Undecodable
from ..inspection.moments import moment
from ..inspection.reader import Place, Seen, Span, read
from ..records import Arrival, decode, header
from .output import json_option, print_json
from .target import Target

_WITHIN = 10.0
_SHOWN = ("unreadable", "key", "task", "id", "eta", "exchange", "routing_key")


@click.command(
    epilog="\b\nExamples:\n  transport peek orders\n  transport peek orders --newest --limit 5 --json\n"
    "  transport peek orders --partition 3 --offset 1207\n  transport peek --topic billing-_poison"
)
@click.argument("queue", required=False)
@click.option("--topic", help="A topic by its own name, instead of a queue.")
@click.option("--partition", type=click.IntRange(0), help="Only this one.")
@click.option("--offset", type=click.IntRange(0), help="From this offset on; needs --partition.")
@click.option("--oldest", "whence", flag_value="oldest", default=True, help="From the oldest unfinished.  [default]")
@click.option("--newest", "whence", flag_value="newest", help="The last ones of each partition.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many messages.")
@click.option("--body-bytes", type=click.IntRange(0), default=200, show_default=True, help="How much of a body.")
@json_option
@click.pass_obj
def peek(
    target: Target,
    queue: str | None,
    topic: str | None,
    partition: int | None,
    offset: int | None,
    whence: str,
    limit: int,
    body_bytes: int,
    as_json: bool,
) -> None:
    """Show messages without consuming them: no group is joined, nothing is committed."""
    if (queue is None) == (topic is None):
        raise click.UsageError("name a queue, or a topic with --topic")
    if offset is not None and partition is None:
        raise click.UsageError("an offset is one of a partition: name it with --partition")
    if queue is not None:
        [queue] = target.queues([queue])
        topic = target.cluster.names.queue(queue)
    seen, finished = _look(target, topic or "", partition, offset, whence, limit)
    rows = [_row(one, body_bytes, finished(one.arrival)) for one in seen]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no message is there", err=True)
    else:
        click.echo("\n\n".join(_page(row) for row in rows))


def _look(
    target: Target, topic: str, partition: int | None, offset: int | None, whence: str, limit: int
) -> tuple[list[Seen], Any]:
    group = target.cluster.names.group(target.cluster.options.group_id, topic)
    tallies, commits = target.inspector.tallies(topic, group)
    if not tallies or (partition is not None and (topic, partition) not in tallies):
        raise click.ClickException(f"topic {topic!r} has no partition {partition or 0} that answers")
    spans: dict[Place, Span] = {}
    for place, counted in tallies.items():
        if partition in (None, place[1]):
            start = counted.first if whence == "oldest" else max(counted.low, counted.end - limit)
            spans[place] = Span(start if offset is None else max(offset, counted.low), limit)
    found = [one for seen in read(target.cluster, spans, _WITHIN).values() for one in seen]
    found.sort(key=lambda one: (one.written.timestamp() if one.written else 0.0, one.arrival.offset))

    def finished(arrival: Arrival) -> bool:
        commit = commits.get((arrival.topic, arrival.partition))
        if commit is None:
            return False
        return arrival.offset < commit.offset or arrival.offset in read_islands(commit.offset, commit.metadata)

    if whence == "oldest" and offset is None:
        found = [one for one in found if not finished(one.arrival)]
    return (found[-limit:] if whence == "newest" and offset is None else found[:limit]), finished


def _row(seen: Seen, body_bytes: int, finished: bool) -> dict[str, Any]:
    arrival = seen.arrival
    row: dict[str, Any] = {
        "topic": arrival.topic,
        "partition": arrival.partition,
        "offset": arrival.offset,
        "written": seen.written,
        "finished": finished,
        "key": None if arrival.key is None else arrival.key.decode(errors="replace"),
        "task": header(arrival.headers, "task") or None,
        "id": header(arrival.headers, "id") or None,
        "eta": _known(header(arrival.headers, "eta")),
        "exchange": header(arrival.headers, "kombu-exchange") or None,
        "routing_key": header(arrival.headers, "kombu-routing-key") or None,
        "bytes": len(arrival.value),
        "body": _preview(arrival.value, body_bytes),
    }
    try:
        row["headers"] = decode(arrival, "", False)["headers"]
    except Undecodable as reason:
        row |= {"unreadable": str(reason), "headers": {name: (value or b"") for name, value in arrival.headers}}
    return row


def _preview(value: bytes, most: int) -> str:
    text = value[:most].decode(errors="replace")
    return text if len(value) <= most else f"{text}… ({len(value) - most} bytes more)"


def _page(row: Mapping[str, Any]) -> str:
    place = f"{row['topic']}[{row['partition']}]@{row['offset']}"
    lines = [f"{place}  {moment(row['written']) or '-'}{'  finished' if row['finished'] else ''}"]
    shown = [name for name in _SHOWN if row.get(name) is not None]
    lines += [f"  {name:<12}{row[name]}" for name in shown]
    told = {name: value for name, value in row["headers"].items() if value is not None and name not in row}
    lines.append(f"  {'headers':<12}{json.dumps(told, ensure_ascii=False, default=str)}")
    lines.append(f"  {'body':<12}{row['body']}")
    return "\n".join(lines)


def _known(text: str) -> str | None:
    return None if text in ("", "null") else text
