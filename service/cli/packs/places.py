"""Where a tenant's packs are: in the database of DATABASE_URL, or behind the HTTP API. Both answer alike.

`--tenant` works on the database, as an operator of the installation does; `--url` and `--key` go through the API,
as a team or a CI job does that has a key and nothing else. The answers are the API's JSON either way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import click

from service.cli.packs.files import PackFile
from service.domain.packs.reading.documents import PackKind
from service.engine.pack_pairs import PackKey
from service.persistence.packs import TENANT_PACK

Json = dict[str, Any]
Progress = Callable[[int, int], None]
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Activation:
    """How to activate."""

    at: str | None = None
    comment: str | None = None
    force: str | None = None


@dataclass(frozen=True, slots=True)
class Backtest:
    """What to decide again."""

    version: int | None
    other: int | None
    limit: int
    exception_type: str | None
    differences: int


class Place(Protocol):
    """A tenant's packs. Refusals are the project's PermanentErrors, outages its TransientErrors."""

    def versions(self) -> list[Json]:
        """Every version of every pack."""

    def show(self, key: PackKey, version: int | None) -> Json:
        """One version with its document; None: the newest."""

    def put(self, file: PackFile, comment: str | None) -> Json:
        """Store a file as a draft."""

    def test(self, key: PackKey, version: int | None, other: int | None) -> Json:
        """Run the suites."""

    def backtest(self, key: PackKey, wanted: Backtest, progress: Progress) -> Json:
        """Decide the last exceptions again."""

    def activate(self, versions: list[tuple[PackKey, int | None]], how: Activation) -> list[Json]:
        """Activate versions; None: the newest."""

    def rollback(self, key: PackKey, comment: str | None, scheduled: bool) -> Json:
        """Bring the version before back, or take back what is scheduled."""

    def history(self, key: PackKey) -> list[Json]:
        """What was activated, newest first."""


def _http_url(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://")
    return url


def place_options(command: _F) -> _F:
    """The options that say where."""
    options = (
        click.option("--tenant", help="On the database of DATABASE_URL: whose packs."),
        click.option(
            "--url",
            envvar="SENTINAI_API_URL",
            callback=_http_url,
            help="Through the API at this URL; SENTINAI_API_URL.",
        ),
        click.option("--key", envvar="SENTINAI_API_KEY", help="The API key, better given as SENTINAI_API_KEY."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def the_place(tenant: str | None, url: str | None, key: str | None) -> Place:
    """Where the options say; --tenant goes before a URL of the environment."""
    if tenant is not None:
        from service.cli.packs.direct import DirectPlace

        return DirectPlace(os.environ, tenant)
    if url is None:
        raise click.UsageError("say where: --tenant TENANT (the database of DATABASE_URL), or --url URL with --key KEY")
    if not key:
        raise click.UsageError("--url needs a key: --key or SENTINAI_API_KEY (sentinai keys create makes one)")
    from service.cli.packs.remote import RemotePlace

    return RemotePlace(url, key)


def key_of(name: str) -> PackKey:
    """A pack by the name people give it: `tenant`, or the domain's name."""
    if name == TENANT_PACK:
        return PackKey(PackKind.TENANT, TENANT_PACK)
    return PackKey(PackKind.DOMAIN, name)
