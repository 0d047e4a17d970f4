"""`dead-letters`: what could not be delivered, and sending it back.

Which letters were dealt with is remembered as a worker would: in the commits of a group of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

from ..consuming.offsets import Ledger, Progress
from ..inspection.reader import Seen, Span, read
from ..records import Record, header
from .output import confirm, json_option, print_json, print_table, yes_option
from .positions import Step, apply
from .target import Target

_ADDED = "dead-letter-"
_WITHIN = 10.0
_MOST = 10_000
_COLUMNS = ("letter", "written", "from", "task", "id", "reason")


@click.group(
    "dead-letters",
    invoke_without_command=True,
    epilog="\b\nExamples:\n  transport dead-letters\n  transport dead-letters --json --limit 500\n"
    "  transport dead-letters return 0:17 0:18\n  transport dead-letters discard --all",
)
@click.option("--limit", type=click.IntRange(1, _MOST), default=50, show_default=True, help="How many are listed.")
@json_option
@click.pass_context
def dead_letters(ctx: click.Context, limit: int, as_json: bool) -> None:
    """List records that could not be delivered, with the reason and where they were; return or discard them."""
    if ctx.invoked_subcommand is not None:
        return
    found = list(_Letters(ctx.obj).read(limit).values())[:limit]
    rows = [_row(one) for one in found]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, _COLUMNS, "there are no dead letters")


@dead_letters.command(
    "return", epilog="\b\nExamples:\n  transport dead-letters return 0:17\n  transport dead-letters return --all"
)
@click.argument("letters", nargs=-1, metavar="[PARTITION:OFFSET]...")
@click.option("--all", "everything", is_flag=True, help=f"All there are, at most {_MOST}.")
@yes_option
@click.pass_obj
def return_letters(target: Target, letters: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Send letters back to where they came from, with key, bytes and headers as they were.

    Do it when the cause is mended: what is still unreadable comes back as a new letter.
    """
    box = _Letters(target)
    chosen = box.choose(letters, everything=everything)
    confirm(f"Return {len(chosen)} letters to their queues?", yes=yes)
    for place, seen in chosen.items():
        target.cluster.publisher.publish(*_original(seen))
        # Each by itself: who is interrupted here sends one letter twice at most, and none is forgotten.
        box.mark([place])
    click.echo(f"{len(chosen)} letters returned", err=True)


@dead_letters.command("discard")
@click.argument("letters", nargs=-1, metavar="[PARTITION:OFFSET]...")
@click.option("--all", "everything", is_flag=True, help=f"All there are, at most {_MOST}.")
@yes_option
@click.pass_obj
def discard_letters(target: Target, letters: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Take letters off the list. Their records stay until the topic's retention removes them."""
    box = _Letters(target)
    chosen = box.choose(letters, everything=everything)
    confirm(f"Discard {len(chosen)} letters?", yes=yes)
    box.mark(chosen)
    click.echo(f"{len(chosen)} letters discarded", err=True)


class _Letters:
    """The dead-letter topic and what was dealt with."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._topic = target.cluster.options.poison_topic
        self._group = target.cluster.names.group(target.cluster.options.group_id, self._topic)

    def read(self, limit: int) -> dict[tuple[int, int], Seen]:
        """Letters nobody dealt with, by partition and offset."""
        tallies, _ = self._target.inspector.tallies(self._topic, self._group)
        spans = {
            place: Span(counted.first, limit + len(counted.islands))
            for place, counted in tallies.items()
            if counted.lag
        }
        found = read(self._target.cluster, spans, _WITHIN)
        return {
            (place[1], one.arrival.offset): one
            for place, seen in sorted(found.items())
            for one in seen
            if one.arrival.offset not in tallies[place].islands
        }

    def choose(self, letters: Collection[str], *, everything: bool) -> Mapping[tuple[int, int], Seen]:
        """The letters that a person named."""
        if everything == bool(letters):
            raise click.UsageError("name letters as PARTITION:OFFSET, or --all")
        there = self.read(_MOST)
        if everything:
            return there
        named = {f"{partition}:{offset}": (partition, offset) for partition, offset in there}
        missing = [letter for letter in letters if letter not in named]
        if missing:
            raise click.ClickException(f"there is no letter {missing[0]}; `dead-letters` lists what there is")
        return {named[letter]: there[named[letter]] for letter in letters}

    def mark(self, done: Collection[tuple[int, int]]) -> None:
        """Remember that letters were dealt with."""
        tallies, commits = self._target.inspector.tallies(self._topic, self._group)
        steps = []
        for place, counted in tallies.items():
            offsets = [offset for partition, offset in done if partition == place[1]]
            if offsets:
                to = _progress(commits.get(place), counted.low, counted.end, offsets)
                steps.append(Step(place, counted.first, to.offset, 0, 0, to))
        apply(self._target.cluster, self._group, steps)


def _progress(commit: Progress | None, low: int, end: int, done: Collection[int]) -> Progress:
    usable = commit is not None and low <= commit.offset <= end
    ledger = Ledger(commit.offset, commit.metadata) if commit is not None and usable else Ledger(low)
    for offset in range(commit.offset if commit is not None and usable else low, end):
        ledger.receive(offset)
    for offset in done:
        ledger.finish(offset)
    return ledger.progress() or Progress(low, "")


def _original(seen: Seen) -> tuple[str, Record]:
    arrival = seen.arrival
    topic = header(arrival.headers, f"{_ADDED}topic")
    if not topic:
        raise click.ClickException(f"letter {arrival.partition}:{arrival.offset} does not say where it came from")
    kept = [(name, value) for name, value in arrival.headers if not name.startswith(_ADDED)]
    return topic, Record(arrival.key, arrival.value, kept)


def _row(seen: Seen) -> dict[str, Any]:
    headers = seen.arrival.headers
    place = [header(headers, f"{_ADDED}{name}") for name in ("topic", "partition", "offset")]
    return {
        "letter": f"{seen.arrival.partition}:{seen.arrival.offset}",
        "written": seen.written,
        "from": f"{place[0]}[{place[1]}]@{place[2]}",
        "task": header(headers, "task") or None,
        "id": header(headers, "id") or None,
        "reason": header(headers, f"{_ADDED}reason"),
        "bytes": len(seen.arrival.value),
    }
