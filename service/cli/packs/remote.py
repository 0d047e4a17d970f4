"""A tenant's packs behind the HTTP API, under one key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import orjson

from service.cli.packs.files import PackFile
from service.cli.packs.places import Activation, Backtest, Progress
from service.domain.packs.reading.documents import PackKind
from service.engine.pack_pairs import PackKey
from service.errors import PermanentError, TransientError

_TIMEOUT_SECONDS = 60
_MAY_PASS = (429, 500, 502, 503, 504)
Json = dict[str, Any]


class RefusedError(PermanentError):
    """The API answered with a problem."""

    def __init__(self, problem: Json) -> None:
        faults = "".join(f"\n  {_place(one)}: {one['message']}" for one in problem.get("errors", ()))
        super().__init__(f"{problem.get('status')} {problem.get('title')}: {problem.get('detail')}{faults}")


class UnreachableError(TransientError):
    """The API does not answer, or says that it may later."""

    def __init__(self, url: str, cause: object) -> None:
        super().__init__(f"the API at {url} does not answer ({cause}); is it running, and is the URL right?")


class RemotePlace:
    """The packs of the tenant that the key names."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def versions(self) -> list[Json]:
        """Every version of every pack."""
        return list(self._json("GET", "/packs")["items"])

    def show(self, key: PackKey, version: int | None) -> Json:
        """One version with its document; None: the newest."""
        return self._json("GET", _path(key) + ("" if version is None else f"/versions/{version}"))

    def put(self, file: PackFile, comment: str | None) -> Json:
        """Store a file as a draft."""
        media_type = "application/json" if file.path.suffix.lower() == ".json" else "application/yaml"
        query = "?" + urlencode({"comment": comment}) if comment else ""
        return self._json("PUT", _path(file.key) + query, file.text.encode(), media_type)

    def test(self, key: PackKey, version: int | None, other: int | None) -> Json:
        """Run the suites."""
        return self._command(key, "test", version=version, otherVersion=other)

    def backtest(self, key: PackKey, wanted: Backtest, progress: Progress) -> Json:
        """Decide the last exceptions again; the API streams how far it is."""
        body = _body(
            version=wanted.version,
            otherVersion=wanted.other,
            limit=wanted.limit,
            exceptionType=wanted.exception_type,
            differences=wanted.differences,
        )
        for line in self._lines("POST", f"{_path(key)}/backtest", body):
            if "progress" in line:
                progress(line["progress"]["done"], line["progress"]["of"])
            elif "report" in line:
                report: Json = line["report"]
                return report
            else:
                raise RefusedError(line["problem"])
        raise UnreachableError(self._url, "the answer broke off")

    def activate(self, versions: list[tuple[PackKey, int | None]], how: Activation) -> list[Json]:
        """Activate one after the other: the API takes one at a time."""
        return [
            self._command(key, "activate", version=version, at=how.at, comment=how.comment, force=how.force)
            for key, version in versions
        ]

    def rollback(self, key: PackKey, comment: str | None, scheduled: bool) -> Json:
        """Bring the version before back, or take back what is scheduled."""
        return self._command(key, "rollback", comment=comment, scheduled=scheduled)

    def history(self, key: PackKey) -> list[Json]:
        """What was activated, newest first."""
        return list(self._json("GET", f"{_path(key)}/history")["items"])

    def _command(self, key: PackKey, name: str, **values: Any) -> Json:
        return self._json("POST", f"{_path(key)}/{name}", _body(**values))

    def _json(self, method: str, path: str, body: bytes | None = None, media_type: str = "application/json") -> Json:
        (answer,) = self._answers(method, path, body, media_type, "application/json")
        return answer

    def _lines(self, method: str, path: str, body: bytes) -> Iterator[Json]:
        return self._answers(method, path, body, "application/json", "application/x-ndjson")

    def _answers(self, method: str, path: str, body: bytes | None, media_type: str, accepted: str) -> Iterator[Json]:
        headers = {"X-API-KEY": self._key, "Content-Type": media_type, "Accept": accepted}
        request = Request(self._url + path, body, headers, method=method)  # noqa: S310 - checked where it is given
        try:
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
                if accepted == "application/json":
                    yield orjson.loads(answer.read())
                else:
                    yield from (orjson.loads(line) for line in answer if line.strip())
        except HTTPError as error:
            if error.code in _MAY_PASS:
                raise UnreachableError(self._url, f"{error.code} {error.reason}") from None
            raise RefusedError(_problem(error)) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            raise UnreachableError(self._url, getattr(error, "reason", error)) from None


def _path(key: PackKey) -> str:
    return "/packs/tenant" if key.kind is PackKind.TENANT else f"/packs/domain/{quote(key.name, safe='')}"


def _body(**values: Any) -> bytes:
    return orjson.dumps({name: value for name, value in values.items() if value is not None})


def _problem(error: HTTPError) -> Json:
    try:
        problem = orjson.loads(error.read())
    except orjson.JSONDecodeError:
        problem = None
    return problem if isinstance(problem, dict) else {"status": error.code, "title": error.reason, "detail": ""}


def _place(fault: Json) -> str:
    line = f"line {fault['line']}: " if fault.get("line") else ""
    return line + (fault["path"] or "(the document)")
