"""`sentinai exceptions`: post and look at exceptions through the HTTP API, as a tenant does."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import click
import orjson

from service.cli.administration import json_option, print_json, print_table
from service.errors import PermanentError, TransientError

_TIMEOUT_SECONDS = 30
_F = TypeVar("_F", bound=Callable[..., Any])


class ApiKeyMissingError(PermanentError):
    """Nobody said who is calling."""

    def __init__(self) -> None:
        super().__init__("give an API key: --api-key or SENTINAI_API_KEY (sentinai keys create makes one)")


class ApiRefusedError(PermanentError):
    """The API answered with a problem."""

    def __init__(self, problem: dict[str, Any]) -> None:
        faults = "".join(f"\n  {one['path'] or '(body)'}: {one['message']}" for one in problem.get("errors", ()))
        super().__init__(f"{problem.get('status')} {problem.get('title')}: {problem.get('detail')}{faults}")


class ApiUnreachableError(TransientError):
    """Nothing answers at the API's address."""

    def __init__(self, url: str, cause: object) -> None:
        super().__init__(f"the API at {url} does not answer ({cause}); is it running, and is SENTINAI_API_URL right?")


class _Api:
    """The API under one key."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def call(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """GET, or POST when there is a body. Raises one of this module's errors."""
        if not self._key:
            raise ApiKeyMissingError
        sent = {"X-API-KEY": self._key, "Content-Type": "application/json", **(headers or {})}
        request = Request(self._url + path, body, sent)  # noqa: S310 - the scheme is checked where the URL is given
        try:
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                return orjson.loads(answer.read())
        except HTTPError as error:
            raise ApiRefusedError(_problem(error)) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            raise ApiUnreachableError(self._url, getattr(error, "reason", error)) from None


def _problem(error: HTTPError) -> dict[str, Any]:
    try:
        problem = orjson.loads(error.read())
    except orjson.JSONDecodeError:
        problem = None
    return problem if isinstance(problem, dict) else {"status": error.code, "title": error.reason, "detail": ""}


def _http_url(_context: click.Context, _option: click.Parameter, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://")
    return url


@click.group()
@click.option(
    "--api-url",
    envvar="SENTINAI_API_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    callback=_http_url,
    help="Where the API listens; SENTINAI_API_URL. `sentinai stack status` shows the local one's.",
)
@click.option("--api-key", envvar="SENTINAI_API_KEY", help="The tenant's key; better given as SENTINAI_API_KEY.")
@click.pass_context
def command(context: click.Context, api_url: str, api_key: str | None) -> None:
    """Post and inspect exceptions over HTTP, with an API key."""
    context.obj = _Api(api_url, api_key)


@command.command(
    epilog="\b\nExamples:\n  sentinai exceptions post exception.json\n"
    '  echo \'{"sourceSystem": "ERP", "rawPayload": {}}\' | sentinai exceptions post -\n'
    "  sentinai exceptions post exception.json --idempotency-key 2026-01-31/17"
)
@click.argument("body", type=click.File("rb"))
@click.option("--idempotency-key", help="The same key and body again is taken once.")
@json_option
@click.pass_obj
def post(api: _Api, body: IO[bytes], idempotency_key: str | None, as_json: bool) -> None:
    """Send one exception; BODY is a JSON file, or - for stdin."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
    answer = api.call("/exceptions", body.read(), headers)
    if as_json:
        print_json(answer)
    else:
        click.echo(answer["exceptionId"])


@command.command(epilog="\b\nExamples:\n  sentinai exceptions get 01a205fe-b64c-7364-9d0e-26506e68e860")
@click.argument("exception_id")
@json_option
@click.pass_obj
def get(api: _Api, exception_id: str, as_json: bool) -> None:
    """Show one exception with its plan."""
    answer = api.call(f"/exceptions/{quote(exception_id, safe='')}")
    if as_json:
        print_json(answer)
        return
    for name in ("exceptionId", "status", "stage", "exceptionType", "severity", "sourceSystem", "receivedAt"):
        click.echo(f"{name:14} {answer[name] if answer[name] is not None else '-'}")
    for step in (answer["plan"] or {"steps": ()})["steps"]:
        click.echo(f"  step {step['order']:<3} {step['state']:10} {step['kind']:9} {step['name']}")
    if answer["deadLetter"]:
        click.echo(f"dead-lettered at {answer['deadLetter']['stage']}: {answer['deadLetter']['message']}")


@command.command(
    "list",
    epilog="\b\nExamples:\n  sentinai exceptions list --status DEAD_LETTERED\n"
    "  sentinai exceptions list --limit 200 --json | jq -r '.items[].exceptionId'",
)
@click.option("--status", multiple=True, help="Only these; may be repeated.")
@click.option("--type", "exception_type", help="Only this exception type.")
@click.option("--limit", default=50, show_default=True, help="At most so many (200).")
@click.option("--cursor", help="nextCursor of the page before.")
@json_option
@click.pass_obj
def list_(
    api: _Api, status: tuple[str, ...], exception_type: str | None, limit: int, cursor: str | None, as_json: bool
) -> None:
    """Show the newest exceptions."""
    given = {"status": ",".join(status), "exceptionType": exception_type, "limit": limit, "cursor": cursor}
    answer = api.call("/exceptions?" + urlencode({name: value for name, value in given.items() if value}))
    if as_json:
        print_json(answer)
    else:
        print_table(
            answer["items"], ("exceptionId", "status", "exceptionType", "severity", "receivedAt"), "no exceptions"
        )


@command.command(epilog="\b\nExamples:\n  sentinai exceptions events 01a205fe-b64c-7364-9d0e-26506e68e860")
@click.argument("exception_id")
@json_option
@click.pass_obj
def events(api: _Api, exception_id: str, as_json: bool) -> None:
    """Show what happened to an exception, oldest first."""
    path = f"/exceptions/{quote(exception_id, safe='')}/events?limit=200"
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.call(path + (f"&cursor={cursor}" if cursor else ""))
        found += page["items"]
        cursor = page["nextCursor"]
    if as_json:
        print_json(found)
    else:
        print_table(found, ("occurredAt", "sequence", "stage", "type"), "nothing happened")
