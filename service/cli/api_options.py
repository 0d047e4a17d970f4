"""The options of commands that work through the HTTP API: where it is, and who is calling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])


def api_options(command: _F) -> _F:
    """Give a command `api_url` and `api_key`."""
    return _url(_key(command))


def _http_url(_context: click.Context, _option: click.Parameter, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://")
    return url


_url = click.option(
    "--api-url",
    envvar="SENTINAI_API_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    callback=_http_url,
    help="Where the API listens; SENTINAI_API_URL. `sentinai stack status` shows the local one's.",
)
_key = click.option("--api-key", envvar="SENTINAI_API_KEY", help="The tenant's key; better given as SENTINAI_API_KEY.")
