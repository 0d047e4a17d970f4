"""The load of a round: sources that report exceptions and people who decide about them, through the real API.

They behave as careful systems do: every request has a key, and is sent again under it, to another API process, until
it is answered. What was answered 202 is what the verdict counts. The amount is bounded by the plan.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

import requests

from tests.chaos.pipeline.answers import Accepted, AcceptedInput, Answers
from tests.chaos.pipeline.kinds import Said, body
from tests.chaos.pipeline.plan import Planned, Post
from tests.tenants import TestTenant

_SENDERS = 2
"""Connections of each tenant."""
_TIMEOUT = (2.0, 6.0)
"""Seconds to connect, and to wait for an answer; then the outcome is unknown."""
_AGAIN = 0.3
_NOT_YET = 0.5
_BUSY = (429, 500, 502, 503, 504)
"""Answers after which a careful source comes again."""
_PATHS = {
    Said.COMMENT: "events",
    Said.UPDATED: "events",
    Said.CANCEL: "cancel",
    Said.APPROVE: "approve",
    Said.REJECT: "reject",
    Said.COMPLETE: "steps/1/complete",
}

_OF_DEAD_LETTERS = (Said.REDRIVE, Said.DISCARD)

Attempt = Callable[[requests.Session, str], float | None]
"""Sends a request to the API at this address: None when that is done, else how many seconds to wait for the next."""


@dataclass(order=True)
class _Task:
    at: float
    number: int
    what: str = field(compare=False)
    attempt: Attempt = field(compare=False)
    early: bool = field(default=False, compare=False)
    """The answer was that it is not allowed yet."""


class Load:
    """Everything that is sent in a round, from the beginning of its block on; nothing more after its end."""

    def __init__(
        self, posts: Sequence[Post], tenants: Sequence[TestTenant], urls: Sequence[str], answers: Answers
    ) -> None:
        self._posts = posts
        self._tenants = tenants
        self._urls = urls
        self._answers = answers
        self._newest: dict[int, str] = {}
        self._desks = [_Desk() for _ in tenants]
        self._threads = [
            Thread(target=self._send, args=(desk, tenant), name=f"source-{tenant.tenant_id}-{sender}", daemon=True)
            for desk, tenant in zip(self._desks, tenants, strict=True)
            for sender in range(_SENDERS)
        ]

    def __enter__(self) -> Load:
        began = time.monotonic()
        for post in self._posts:
            self._desks[post.tenant].add(began + post.at, f"POST {post.key}", self._post(post))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        """What was never answered is noted; that something is not allowed yet is an answer."""
        self._answers.unanswered += [what for desk in self._desks for what in desk.unanswered]
        for desk in self._desks:
            desk.close()
        for thread in self._threads:
            thread.join(30)

    @property
    def left(self) -> list[str]:
        """Requests that are still to be sent, or sent again."""
        return [what for desk in self._desks for what in desk.open]

    def _send(self, desk: _Desk, tenant: TestTenant) -> None:
        """One sender: what is due next, to one API process after the other where one does not answer."""
        with requests.Session() as session:
            session.headers["X-API-KEY"] = tenant.key
            url = next(urls := itertools.cycle(self._urls))
            while (task := desk.next()) is not None:
                try:
                    wait = task.attempt(session, url)
                except requests.RequestException:
                    wait, url = _AGAIN, next(urls)
                desk.done(task, wait)

    def _post(self, post: Post) -> Attempt:
        bodies = [body(one.kind, one.ref) for one in post.exceptions]
        path, sent = ("/exceptions/batch", {"items": bodies}) if post.bulk else ("/exceptions", bodies[0])
        left = [2 if post.twice else 1]

        def attempt(session: requests.Session, url: str) -> float | None:
            headers = {"Idempotency-Key": post.key}
            response = session.post(url + path, json=sent, headers=headers, timeout=_TIMEOUT)
            if response.status_code != 202:
                return self._not_accepted(post.key, response)
            left[0] -= 1
            if left[0]:
                return 0.0
            self._taken_in(post, _ids(response.json(), post.bulk))
            return None

        return attempt

    def _taken_in(self, post: Post, ids: Sequence[str]) -> None:
        tenant = self._tenants[post.tenant].tenant_id
        if len(ids) != len(post.exceptions):
            self._answers.refuse(f"{post.key}: {len(ids)} of {len(post.exceptions)} items were taken")
            return
        now = time.time()
        together = list(zip(ids, post.exceptions, strict=True))
        self._answers.accept([Accepted(known, tenant, one.kind, one.ref, now) for known, one in together])
        for known, one in together:
            self._say_later(self._desks[post.tenant], known, one)
        self._newest[post.tenant] = ids[-1]
        if post.strange:
            self._speak_of_another(post)

    def _say_later(self, desk: _Desk, exception_id: str, one: Planned) -> None:
        for place, later in enumerate(one.later):
            key = f"{one.ref}-{place}"
            attempt = self._say(exception_id, later.said, key)
            desk.add(time.monotonic() + later.after, f"{later.said} {key} of {exception_id}", attempt)

    def _say(self, exception_id: str, said: Said, key: str) -> Attempt:
        def attempt(session: requests.Session, url: str) -> float | None:
            address = _address(session, url, exception_id, said)
            if address is None:
                return _NOT_YET
            headers = {"Idempotency-Key": key}
            response = session.post(address, json=_words(said, key), headers=headers, timeout=_TIMEOUT)
            if response.status_code == 202:
                sequence = response.json()["sequence"] if said not in _OF_DEAD_LETTERS else None
                self._answers.accept_input(AcceptedInput(exception_id, sequence, said, time.time()))
                return None
            if response.status_code == 409:
                # There is nothing left to cancel; anything else is not asked for yet.
                return None if said is Said.CANCEL else _NOT_YET
            return self._not_accepted(f"{said} {key} of {exception_id}", response)

        return attempt

    def _speak_of_another(self, post: Post) -> None:
        """A comment about the newest exception of the next tenant. Nobody may take it."""
        other = self._newest.get((post.tenant + 1) % len(self._tenants))
        if other is None:
            return

        def attempt(session: requests.Session, url: str) -> float | None:
            words = _words(Said.COMMENT, f"{post.key} speaks of another's")
            response = session.post(f"{url}/exceptions/{other}/events", json=words, timeout=_TIMEOUT)
            return _AGAIN if response.status_code in _BUSY else None

        self._desks[post.tenant].add(time.monotonic(), f"{post.key} about another's", attempt)

    def _not_accepted(self, what: str, response: requests.Response) -> float | None:
        if response.status_code == 500:
            self._answers.puzzle(f"{what}: {response.text[:300]}")
        if response.status_code in _BUSY:
            return _AGAIN
        self._answers.refuse(f"{what}: {response.status_code} {response.text[:300]}")
        return None


class _Desk:
    """What one tenant's people and systems still have to send, in order of time."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: list[_Task] = []
        self._open: dict[int, str] = {}
        self._closed = False
        self._changed = Condition()

    @property
    def open(self) -> list[str]:
        with self._changed:
            return list(self._open.values())

    @property
    def unanswered(self) -> list[str]:
        """Those that nobody has answered, but for that it is too early for them."""
        with self._changed:
            early = {task.number for task in self._waiting if task.early}
            return [what for number, what in self._open.items() if number not in early]

    def add(self, at: float, what: str, attempt: Attempt) -> None:
        with self._changed:
            task = _Task(at, next(self._numbers), what, attempt)
            self._open[task.number] = what
            heapq.heappush(self._waiting, task)
            self._changed.notify()

    def next(self) -> _Task | None:
        """Wait for the next one that is due; None when closed."""
        with self._changed:
            while not self._closed:
                if self._waiting and self._waiting[0].at <= time.monotonic():
                    return heapq.heappop(self._waiting)
                self._changed.wait(max(0.0, self._waiting[0].at - time.monotonic()) if self._waiting else None)
            return None

    def done(self, task: _Task, wait: float | None) -> None:
        with self._changed:
            if wait is None:
                self._open.pop(task.number, None)
            else:
                task.early = wait == _NOT_YET
                task.at = time.monotonic() + wait
                heapq.heappush(self._waiting, task)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _address(session: requests.Session, url: str, exception_id: str, said: Said) -> str | None:
    """Where to say it; None: there is no dead letter yet to say it of."""
    if said not in _OF_DEAD_LETTERS:
        return f"{url}/exceptions/{exception_id}/{_PATHS[said]}"
    response = session.get(f"{url}/exceptions/{exception_id}/events?limit=200", timeout=_TIMEOUT)
    events = response.json()["items"] if response.status_code == 200 else []
    known = next((event["data"]["deadLetterId"] for event in events if event["type"] == "DeadLettered"), None)
    return None if known is None else f"{url}/dlq/{known}/{said}"


def _ids(answer: Any, bulk: bool) -> list[str]:
    if not bulk:
        return [answer["exceptionId"]]
    return [item["exceptionId"] for item in answer["items"] if "exceptionId" in item]


def _words(said: Said, key: str) -> dict[str, Any]:
    match said:
        case Said.COMMENT:
            return {"type": "comment", "data": {"text": f"about {key}"}}
        case Said.UPDATED:
            return {"type": "updated", "data": {"note": f"corrected by {key}"}}
        case Said.CANCEL:
            return {"reason": f"withdrawn by {key}"}
        case Said.APPROVE | Said.REJECT:
            return {"comment": f"looked at by {key}"}
        case Said.REDRIVE | Said.DISCARD:
            return {"reason": f"decided by {key}"}
        case Said.COMPLETE:
            return {"comment": f"done by {key}"}
