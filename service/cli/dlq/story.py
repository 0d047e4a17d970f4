"""A dead letter as a story for a person: what failed, since when, what was tried, what waits, what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]

_MEANING = {
    "transient": "it may work later, but every attempt of its policy failed",
    "rate_limited": "the other side asked us to come back later, every time",
    "permanent": "it would fail again as it is",
    "poison": "it breaks whoever works it",
}
_REMEDY = {
    "transient": "once what it needs works again, send it again",
    "rate_limited": "once the other side takes us again, send it again, slowly",
    "permanent": "correct what the message names, then send it again",
    "poison": "look at the evidence and correct the cause before anybody works it again",
}


def told(letter: Json, alike: int, now: datetime) -> Iterator[str]:
    """The story, a line each. `alike`: how many in the same state have its signature, itself included."""
    yield f"dead letter {letter['deadLetterId']}: {letter['state']}"
    yield f"  exception  {letter['exceptionId']} ({_of(letter)}), input {letter['sequence']}"
    yield from _what_failed(letter)
    yield from _since(letter, now)
    yield from _tried(letter["history"])
    yield from _around(letter, alike)
    yield from _to_do(letter, alike)


def _of(letter: Json) -> str:
    named = [letter["exceptionType"] or "no type", f"from {letter['sourceSystem']}"]
    return ", ".join([" ".join(named), *([letter["externalId"]] if letter["externalId"] else [])])


def _what_failed(letter: Json) -> Iterator[str]:
    where = f"the {letter['stage']} stage"
    what = f"a call of tool {letter['tool']!r} at {where}" if letter["tool"] else where
    yield f"what failed: {what}, with {letter['errorClass']}"
    yield f"  {letter['message']}"
    yield f"  {letter['errorKind']}: {_MEANING[letter['errorKind']]}"
    if letter["evidence"]:
        yield "  evidence: " + ", ".join(f"{name} {value}" for name, value in letter["evidence"].items())


def _since(letter: Json, now: datetime) -> Iterator[str]:
    first, last = letter["firstDeadLetteredAt"], letter["deadLetteredAt"]
    again = f", the last time {last}" if last != first else ""
    yield f"since when: {first} ({_ago(first, now)} ago){again}"


def _tried(history: list[Json]) -> Iterator[str]:
    yield "what was tried:"
    for one in history:
        yield f"  {one['at']}  {_attempt(one)}"


def _attempt(one: Json) -> str:
    if one["outcome"] == "redriven":
        return f"sent again by {one['by']}: {one['reason']}"
    if one["outcome"] == "discarded":
        return f"discarded by {one['by']}: {one['reason']}"
    then = f"tried again at {one['retryAt']}" if one["outcome"] == "retried" else "given up"
    return f"{one['stage']}, attempt {one['attempt']}: {one['errorClass']}, {then}"


def _around(letter: Json, alike: int) -> Iterator[str]:
    versions = letter["packVersions"]
    if versions:
        yield f"decided with: domain pack {versions['domain']}, tenant pack {versions['tenant']}"
    if letter["blocking"]:
        yield f"behind it: {letter['blocking']} later inputs of this exception wait until it is settled"
    else:
        yield "behind it: nothing waits"
    if alike > 1:
        yield f"not alone: {alike} {letter['state']} dead letters have its cause, {letter['signature']}"
    yield "what happened last:"
    for event in letter["lastEvents"]:
        yield f"  {event['occurredAt']}  {event['stage']:8}  {event['type']}"


def _to_do(letter: Json, alike: int) -> Iterator[str]:
    if letter["state"] in ("succeeded", "discarded"):
        yield f"nothing to do: it {'succeeded' if letter['state'] == 'succeeded' else 'was discarded'}"
        return
    if letter["state"] == "redriving":
        yield "nothing to do now: it was sent again and is being worked"
        return
    yield f"what to do: {_REMEDY[letter['errorKind']]}"
    yield f"  send it again:   sentinai dlq redrive {letter['deadLetterId']} --reason …"
    if alike > 1:
        yield f"  all {alike} of its cause: sentinai dlq redrive --signature {letter['signature']} --dry-run"
    yield f"  nobody needs it: sentinai dlq discard {letter['deadLetterId']} --reason …"
    payload = letter["payload"]
    yield f"  its payload:     {payload['method']} {payload['path']} (role {payload['role']}, with a reason)"


def _ago(moment: str, now: datetime) -> str:
    seconds = max(0, int((now - datetime.fromisoformat(moment)).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
