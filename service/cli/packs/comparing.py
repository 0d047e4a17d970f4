"""`sentinai packs diff`: what a change of a pack means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from service.cli.packs.files import read_file
from service.cli.packs.places import key_of, place_options, the_place
from service.cli.printing import json_option, print_json
from service.domain.pack_diff import Change, difference
from service.errors import PermanentError

_LONGEST = 100
_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}


class NothingActiveError(PermanentError):
    """There is no version in force to compare with."""

    def __init__(self, name: str) -> None:
        super().__init__(f"pack {name!r} has no active version; name one, like {name}@1")


@click.command(
    epilog="\b\nExamples:\n  sentinai packs diff old.domain.yaml new.domain.yaml\n"
    "  sentinai packs diff --tenant ACME trading.domain.yaml\n"
    "  sentinai packs diff --tenant ACME Trading@3 Trading@4 --json\n"
    "  sentinai packs diff --url https://sentinai.example --key $KEY Trading@active trading.domain.yaml"
)
@click.argument("before", metavar="[BEFORE]")
@click.argument("after", required=False)
@place_options
@json_option
def diff(before: str, after: str | None, as_json: bool, **where: Any) -> None:
    """Show in what two packs differ: rules, playbooks, tools and cases added, removed, changed or moved, then by path.

    Each is a file, or a stored version as NAME@NUMBER, NAME@newest or NAME@active (NAME `tenant`: the tenant's own).
    One file alone is compared with the active version of its pack. Exit code 1 when they differ. Two files need no
    installation. Order of keys and layout do not count; the order of rules does.
    """
    if after is None:
        before, after = f"{_name_in(before)}@active", before
    found = difference(_document(before, where), _document(after, where))
    if as_json:
        print_json(
            {
                "same": found.same,
                "parts": [{"part": one.part, "name": one.name, "kind": one.kind} for one in found.parts],
                "changes": [_json(one) for one in found.changes],
            }
        )
    elif found.same:
        click.echo("they say the same")
    else:
        for part in found.parts:
            click.echo(f"{_SIGNS[part.kind]} {part.part} {part.name}".rstrip() + f" ({part.kind})")
        click.echo("")
        for change in found.changes:
            click.echo(f"{_SIGNS[change.kind]} {change.path or '(the document)'}{_values(change)}")
    if not found.same:
        raise SystemExit(1)


def _document(operand: str, where: Mapping[str, Any]) -> Mapping[str, Any]:
    if Path(operand).is_file():
        return read_file(Path(operand)).document
    name, at, version = operand.rpartition("@")
    if not at or not (version in ("active", "newest") or (version.isdigit() and int(version) > 0)):
        raise click.UsageError(f"{operand!r} is neither a file nor NAME@NUMBER, NAME@active or NAME@newest")
    place, key = the_place(**where), key_of(name)
    number = int(version) if version.isdigit() else None
    if version == "active":
        number = place.show(key, None)["activeVersion"]
        if number is None:
            raise NothingActiveError(name)
    document: Mapping[str, Any] = place.show(key, number)["document"]
    return document


def _name_in(path: str) -> str:
    if not Path(path).is_file():
        raise click.UsageError(f"there is no file {path!r}; give two packs to compare")
    return read_file(Path(path)).key.name


def _json(change: Change) -> dict[str, Any]:
    return {"path": change.path, "kind": change.kind, "before": change.before, "after": change.after}


def _values(change: Change) -> str:
    if change.kind == "changed":
        return f": {_short(change.before)} -> {_short(change.after)}"
    return f": {_short(change.before if change.kind == 'removed' else change.after)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
