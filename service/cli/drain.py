"""`sentinai drain`: stop dispatching, wait for what is under way, and say what is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from service.cli.administration import administering
from service.cli.pausing import Length, by_option
from service.cli.printing import json_option, print_json
from service.cli.resume import end
from service.domain.pauses import Scope
from service.persistence import pauses
from service.persistence.pauses import InFlight
from service.wiring import new_id

LOOK_SECONDS = 1.0
LOOKS = 3
"""So many looks one after the other find nothing under way before it is believed: a dispatcher may be between taking
and sending, and it knows of the drain only after a second."""
EXIT_LEFT = 3
_EXAMPLES = """\b
Examples:
  sentinai drain --reason 'upgrade to 2.4' --timeout 10m
  sentinai drain --json --timeout 60 || echo 'something is left'
  sentinai drain --end"""


@click.command(epilog=_EXAMPLES)
@click.option("--reason", default="drain", show_default=True, help="Why; kept with the pause.")
@click.option("--timeout", type=Length(), default="5m", show_default=True, help="How long to wait: 90, 30s, 15m, 2h.")
@click.option("--no-wait", is_flag=True, help="Stop dispatching, and say at once what is under way.")
@click.option("--end", "ending", is_flag=True, help="Go on dispatching.")
@by_option
@json_option
def command(reason: str, timeout: float, no_wait: bool, ending: bool, by: str, as_json: bool) -> None:
    """Bring the installation to rest. The API goes on accepting: what comes in waits in the outbox, where it is safe.

    Exit code 0 when nothing is under way any more, 3 when something is left after the time-out. Retries that wait in
    the broker's delays are safe too, over any restart: they are told and not waited for.
    """
    if ending:
        _go_on(by, as_json)
        return
    with administering() as transaction:
        if pauses.in_force(transaction).dispatching is None:
            pauses.pause(transaction, new_id(), pauses.NewPause(Scope.DISPATCH, reason, by, by_platform=True))
    drained, left = wait(_look, 0.0 if no_wait else timeout, _say)
    if as_json:
        print_json({"drained": drained, **_document(left)})
    else:
        click.echo(_sentence(left))
        click.echo("drained" if drained else "NOT drained: something is still under way", err=not drained)
        click.echo("to go on: sentinai drain --end", err=True)
    if not drained:
        raise SystemExit(EXIT_LEFT)


def wait(
    look: Callable[[], InFlight],
    timeout: float,
    say: Callable[[InFlight], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[bool, InFlight]:
    """Look until nothing is under way, or the time is up; whether that came about, and the last look."""
    deadline = clock() + timeout
    quiet = 0
    while True:
        left = look()
        quiet = quiet + 1 if left.working + left.calling == 0 else 0
        if quiet >= LOOKS or clock() >= deadline:
            return quiet >= LOOKS, left
        say(left)
        sleep(LOOK_SECONDS)


def _look() -> InFlight:
    with administering() as transaction:
        return pauses.in_flight(transaction)


def _say(left: InFlight) -> None:
    """Progress: one line that is written over on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{_sentence(left)}", err=True, nl=False)
        if left.working + left.calling == 0:
            click.echo("", err=True)


def _sentence(left: InFlight) -> str:
    parts = [f"{left.working} in messages and workers", f"{left.calling} waiting for a tool's answer"]
    if left.working + left.calling:
        where = ", ".join(f"{number} at {stage}" for stage, number in sorted(left.stages.items()))
        parts.append(f"({where}; the longest without a move since {left.oldest_moved_at:%H:%M:%SZ})")
    parts.append(f"{left.retrying} waiting in the broker for a retry")
    if left.next_retry_at is not None:
        parts.append(f"(the next at {left.next_retry_at:%H:%M:%SZ})")
    parts.append(f"{left.waiting} safe in the outbox")
    return ", ".join(parts).replace(", (", " (")


def _document(left: InFlight) -> dict[str, Any]:
    return {
        "working": left.working,
        "calling": left.calling,
        "retrying": left.retrying,
        "waiting": left.waiting,
        "stages": dict(left.stages),
        "nextRetryAt": left.next_retry_at,
        "oldestMovedAt": left.oldest_moved_at,
    }


def _go_on(by: str, as_json: bool) -> None:
    with administering() as transaction:
        ended = end(transaction, True, (None, None, None), by, None)
    if as_json:
        print_json({"ended": len(ended)})
    else:
        click.echo("dispatching goes on" if ended else "nothing was drained", err=not ended)
    if not ended:
        raise SystemExit(1)
