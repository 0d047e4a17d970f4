"""The options that say which dead letters: the same for looking and for acting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

import click

from service.domain.exceptions import Stage
from service.domain.redriving import DeadLetterState
from service.errors import ErrorKind

_F = TypeVar("_F", bound=Callable[..., Any])
_STATES = [str(state) for state in DeadLetterState]
_OPTIONS = (
    click.option(
        "--state", multiple=True, type=click.Choice(_STATES), help="May be repeated. Default: pending, not decided yet."
    ),
    click.option("--stage", multiple=True, type=click.Choice([s.queue for s in Stage]), help="Where it failed."),
    click.option("--error-class", help="Like ToolRefused."),
    click.option("--error-kind", multiple=True, type=click.Choice([str(kind) for kind in ErrorKind])),
    click.option("--signature", help="Only one cluster's."),
    click.option("--tool", help="The tool whose call failed."),
    click.option("--type", "exception_type", help="The exception type, as it was when it failed."),
    click.option("--source", "source_system", help="The source system."),
    click.option("--from", "from_", help="Dead-lettered at or after this time, like 2026-01-31T12:00:00Z."),
    click.option("--to", help="Dead-lettered before this time."),
    click.option("--search", "q", help="Part of the message, error class, tool, type, source system or an id."),
)
_NAMES: Mapping[str, str] = {
    "state": "state",
    "stage": "stage",
    "error_class": "errorClass",
    "error_kind": "errorKind",
    "signature": "signature",
    "tool": "tool",
    "exception_type": "exceptionType",
    "source_system": "sourceSystem",
    "from_": "from",
    "to": "to",
    "q": "q",
}


def criteria_options(command: _F) -> Callable[..., Any]:
    """Give a command `criteria`: what was said, by the API's names; lists where several may be given."""
    return _with_options(command, _OPTIONS, _NAMES)


def pending_options(command: _F) -> Callable[..., Any]:
    """As `criteria_options`, for commands that act: they choose among what is pending."""
    return _with_options(command, _OPTIONS[1:], {name: told for name, told in _NAMES.items() if name != "state"})


def _with_options(command: _F, options: Sequence[Callable[[Any], Any]], names: Mapping[str, str]) -> Callable[..., Any]:
    @wraps(command)
    def with_criteria(*arguments: Any, **given_options: Any) -> Any:
        given = {told: given_options.pop(name) for name, told in names.items()}
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
        return command(*arguments, criteria=said, **given_options)

    wrapped: Callable[..., Any] = with_criteria
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def as_query(criteria: Mapping[str, Any]) -> dict[str, str]:
    """Criteria as a query string has them."""
    return {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in criteria.items()}
