"""What was asked of `sentinai dlq redrive` and `discard`: the arguments and options that both have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import click

from service.cli.dlq.criteria import pending_options

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS = (
    click.argument("ids", metavar="[ID]...", nargs=-1),
    pending_options,
    click.option("--all", "everything", is_flag=True, help="Every pending dead letter of the tenant."),
    click.option("--limit", type=click.IntRange(1, 100_000), help="At most so many, the oldest first."),
    click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many a second."),
    click.option("--reason", help="Why; kept on the timelines. Needed unless with --dry-run."),
    click.option("--dry-run", is_flag=True, help="Only tell what would be done."),
    click.option("--follow", "following", is_flag=True, help="Show progress until it has come to its end."),
    click.option("--idempotency-key", help="The same call again under this key is taken once."),
)
_NAMES = ("ids", "criteria", "everything", "limit", "rate", "reason", "dry_run", "following", "idempotency_key")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which dead letters, why, and how much of it."""

    ids: tuple[str, ...]
    criteria: Mapping[str, Any]
    everything: bool
    limit: int | None
    rate: float | None
    """A second."""
    reason: str
    dry_run: bool
    following: bool
    idempotency_key: str | None

    @property
    def chosen(self) -> dict[str, Any]:
        """The filter, by the API's names."""
        ids = {"ids": list(self.ids)} if self.ids else {}
        return {**self.criteria, **ids, **({"all": True} if self.everything else {})}

    @property
    def alone(self) -> str | None:
        """The one dead letter that is meant, if it is to be dealt with at once."""
        single = len(self.ids) == 1 and set(self.chosen) == {"ids"}
        return self.ids[0] if single and not self.dry_run and not self.following else None

    @property
    def headers(self) -> dict[str, str] | None:
        """Of the request."""
        return None if self.idempotency_key is None else {"Idempotency-Key": self.idempotency_key}


def asked_options(command: _F) -> Callable[..., Any]:
    """Give a command `asked`. What chooses nothing, or has no reason, is refused."""

    @wraps(command)
    def with_asked(*arguments: Any, **given: Any) -> Any:
        own = {name: given.pop(name) for name in _NAMES}
        asked = Asked(**{**own, "reason": own["reason"] or "a dry run"})
        if not asked.chosen:
            raise click.UsageError("say which: IDs, options like --signature, or --all")
        if own["reason"] is None and not asked.dry_run:
            raise click.UsageError("--reason is needed: people read it on the timeline")
        return command(*arguments, asked=asked, **given)

    wrapped: Callable[..., Any] = with_asked
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
