"""Who is told of which event, and what: a pack set's notification policies, ready to be asked.

What is told is rendered when the event happens, from what everybody may see of the exception at that moment.
A field that is not there does not keep anybody from being told: a text says so instead. Only an address has to be
there. Nothing is sent here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from service.domain import templates
from service.domain.events import EventType, NewEvent
from service.domain.exceptions import Changes, ExceptionRecord, Severity
from service.domain.packs.notifications import TOLD, NotificationPolicy
from service.domain.plans import StepKind
from service.domain.redaction import Redactor
from service.domain.templates import Placeholder

MISSING = "(unknown)"
"""Stands in a text for what an exception does not have."""

LONGEST_TEXT = 20_000
"""Characters of one text; what is beyond is left out."""

_ADDRESSES = ("to", "cc", "replyTo")
_TEXTS = ("type", "subject", "text")
_BY_CHANNEL = {"webhook": {"idempotent": True}, "email": {"idempotent": False}}
"""Whether what is in doubt is sent again, unless the policy says otherwise: a receiver of webhooks knows a
`webhook-id` again, a person who gets an e-mail twice does not."""

DEFAULT_RETRIES = 9
"""How often a notification that certainly did not arrive is sent again, unless the policy says otherwise."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Somebody is to be told of an event."""

    place: int
    """Which of the decision's events it is about, from 1."""
    policy: str
    """The policy's place in the packs: `tenant.notificationPolicies[0]`."""
    event: EventType
    channel: str
    params: Mapping[str, Any]
    """Those of a `notify` step, with all templates rendered."""
    error: str | None = None
    """Why it cannot be sent."""


@dataclass(frozen=True, slots=True)
class _Policy:
    path: str
    on: frozenset[EventType]
    severities: frozenset[Severity] | None
    channel: str
    params: Mapping[str, templates.Template]

    def matches(self, event: NewEvent, severity: Severity | None) -> bool:
        """Whether it tells of this event. Of steps, those for people: the others need nobody."""
        if event.type not in self.on or (self.severities is not None and severity not in self.severities):
            return False
        return event.type is not EventType.STEP_EXECUTION_REQUESTED or event.data.get("kind") == StepKind.MANUAL.value


@dataclass(frozen=True, slots=True)
class Notices:
    """The policies of a domain and of its tenant."""

    events: frozenset[EventType]
    """Those that some policy tells of; empty: there is nothing to ask."""
    _policies: tuple[_Policy, ...]

    @classmethod
    def of(cls, domain: Iterable[NotificationPolicy], tenant: Iterable[NotificationPolicy]) -> Notices:
        """Compile policies that were checked."""
        policies = (*_compiled("domain", domain), *_compiled("tenant", tenant))
        return cls(frozenset().union(*(policy.on for policy in policies)), policies)

    def due(
        self, record: ExceptionRecord, redactor: Redactor, events: Sequence[NewEvent], changes: Changes
    ) -> list[Notice]:
        """What is to be told of the events of one decision about `record`, which makes these `changes`."""
        if not any(event.type in self.events for event in events):
            return []
        about = _About(_changed(record, changes), redactor)
        return [
            about.notice(policy, place, event)
            for place, event in enumerate(events, 1)
            for policy in self._policies
            if policy.matches(event, about.record.severity)
        ]


class _About:
    """One exception as notifications see it; its payload is only redacted for one that names it."""

    def __init__(self, record: ExceptionRecord, redactor: Redactor) -> None:
        self.record = record
        self._redactor = redactor

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return templates.view_of(self.record, {})

    @cached_property
    def _whole(self) -> dict[str, Any]:
        return templates.view_of(self.record, self._redactor.redact(self.record.raw_payload).view)

    def notice(self, policy: _Policy, place: int, event: NewEvent) -> Notice:
        """Render what a policy tells of an event."""
        missing: list[str] = []

        def look(placeholder: Placeholder) -> Any:
            try:
                return templates.resolve(placeholder, self._scope(placeholder, event))
            except templates.UnresolvedError:
                missing.append(placeholder.expression)
                return None

        params: dict[str, Any] = {"channel": policy.channel}
        error = None
        for key, template in policy.params.items():
            missing.clear()
            value = _rendered(template, look)
            if key in _ADDRESSES and missing:
                error = error or f"{key} needs {{{{ {missing[0]} }}}}, which the exception does not have"
            params[key] = _as_line(value) if key in _TEXTS else value
        if policy.channel == "webhook":
            params.setdefault("data", self._details(event))
        return Notice(place, policy.path, event.type, policy.channel, params, error)

    def _scope(self, placeholder: Placeholder, event: NewEvent) -> Mapping[str, Any]:
        if placeholder.scope == "event":
            return {"type": event.type.value, "data": event.data}
        return self._whole if placeholder.path[0] == "rawPayload" else self._plain

    def _details(self, event: NewEvent) -> dict[str, Any]:
        """What a webhook carries whose policy names no `data`."""
        shown = {key: _plain_time(value) for key, value in self._plain.items() if key != "rawPayload"}
        return {"event": {"type": event.type.value, "data": dict(event.data)}, "exception": shown}


def _compiled(pack: str, policies: Iterable[NotificationPolicy]) -> Iterator[_Policy]:
    for index, policy in enumerate(policies):
        written = {"maxRetries": DEFAULT_RETRIES, **_BY_CHANNEL[policy.channel], **policy.params}
        written.pop("channel", None)
        yield _Policy(
            path=f"{pack}.notificationPolicies[{index}]",
            on=frozenset(policy.on) & TOLD,
            severities=None if policy.severities is None else frozenset(policy.severities),
            channel=policy.channel,
            params={key: templates.parse(value, templates.ABOUT_EVENTS) for key, value in written.items()},
        )


def _changed(record: ExceptionRecord, changes: Changes) -> ExceptionRecord:
    """The exception as it is after the decision."""
    names = ("exception_type", "severity", "confidence", "deadline_at", "raw_payload")
    new = {name: value for name in names if (value := getattr(changes, name)) is not None}
    return replace(record, **new) if new else record


def _rendered(template: templates.Template, look: Callable[[Placeholder], Any]) -> Any:
    match template:
        case templates.Constant(value):
            return value
        case Placeholder():
            return look(template)
        case templates.TextTemplate(parts):
            return "".join(part if isinstance(part, str) else _inside(look(part)) for part in parts)
        case templates.ObjectTemplate(items):
            return {key: _rendered(item, look) for key, item in items}
        case templates.ListTemplate(members):
            return [_rendered(member, look) for member in members]


def _inside(value: Any) -> str:
    return MISSING if value is None else templates.as_text(value)


def _as_line(value: Any) -> str:
    text = _inside(value)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def _plain_time(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
