"""`sentinai chaos`: finds the chaos rounds of the clone this runs from, and hands over to them.

The rounds break a product of their own and are tests, so they are not part of an installed package and this module
imports nothing of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import service
from service.errors import PermanentError

_MODULE = "tests.chaos.pipeline"


class ChaosNotHereError(PermanentError):
    """The rounds are not where this code is."""

    def __init__(self, place: Path) -> None:
        super().__init__(
            f"the chaos rounds are tests of the source tree, and {place} has none of them; "
            "run `make install` in a clone and call its .venv/bin/sentinai"
        )


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Break a running product of its own by a seed, under load, and judge it by its books."""
    clone = Path(service.__file__).resolve().parents[1]
    if not clone.joinpath(*_MODULE.split("."), "__main__.py").is_file():
        raise ChaosNotHereError(clone)
    paths = [str(clone), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    # This process becomes the rounds', so that whoever ends it ends them, and they end what they started.
    os.execve(  # noqa: S606 - the arguments go to our own module, and to no shell
        sys.executable, [sys.executable, "-m", _MODULE, *arguments], environment
    )
