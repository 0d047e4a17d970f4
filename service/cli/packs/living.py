"""`sentinai packs load`, `activate` and `rollback`: what changes which packs decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from service.cli.packs.checking import FILE
from service.cli.packs.files import PackFile, parsed, read_file
from service.cli.packs.places import Activation, Json, Place, key_of, place_options, the_place
from service.cli.printing import json_option, print_json, print_table
from service.domain.packs.reading.documents import PackKind

_COMMENT = click.option("--comment", help="Why; the history keeps it.")
_FORCE = click.option("--force", metavar="REASON", help="Activate although its tests fail; the history keeps REASON.")
_AT = click.option(
    "--at", metavar="INSTANT", help="From then on, like 2026-12-01T00:00:00Z, by time of receipt.  [default: now]"
)


@click.command(
    epilog="\b\nExamples:\n  sentinai packs load --tenant ACME trading.domain.json acme.tenant.json\n"
    "  sentinai packs load --tenant ACME trading.domain.json --no-activate\n"
    '  SENTINAI_API_KEY=… sentinai packs load --url https://sentinai.example trading.domain.yaml --comment "$COMMIT"'
)
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--activate/--no-activate", default=True, show_default=True, help="Decide with them, or keep drafts.")
@_AT
@_COMMENT
@_FORCE
@place_options
@json_option
def load(
    files: tuple[Path, ...],
    activate: bool,
    at: str | None,
    comment: str | None,
    force: str | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Store packs as new versions and activate them. The same content again stays the same version.

    Nothing is stored if one has faults. On the database they are activated together, all or none; through the API
    one after the other, domain packs first. Versions that are in force already stay as they are.
    """
    packs = sorted((read_file(path) for path in files), key=lambda file: file.given.kind is PackKind.TENANT)
    for pack in packs:
        parsed(pack, packs)
    place = the_place(**where)
    shown = [_stored(place, pack, comment) for pack in packs]
    chosen = [one for one in shown if not one["active"]] if activate else []
    if chosen:
        versions = [(_key(one), one["version"]) for one in chosen]
        for one, told in zip(chosen, place.activate(versions, Activation(at, comment, force)), strict=True):
            one.update(active=told["activeVersion"] == told["version"], scheduledFor=told["scheduledFor"])
    if as_json:
        print_json(shown)
    else:
        print_table(shown, ("kind", "name", "version", "new", "active"), "no packs")


@click.command(
    epilog="\b\nExamples:\n  sentinai packs activate --tenant ACME Trading\n"
    "  sentinai packs activate --tenant ACME Trading --version 4 --at 2026-12-01T00:00:00Z --comment 'new fees'\n"
    "  sentinai packs activate --url https://sentinai.example --key $KEY tenant --force 'case 3 is wrong, T-17'"
)
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Which.  [default: the newest]")
@_AT
@_COMMENT
@_FORCE
@place_options
@json_option
def activate(
    name: str,
    version: int | None,
    at: str | None,
    comment: str | None,
    force: str | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Make a version of pack NAME (`tenant`: the tenant's own) the one that decides.

    Its suites are run first. If a case fails nothing changes and the exit code is 1, unless --force says why.
    Without --at it decides everything that is not decided yet; with it, what is received from that instant on.
    Plans that were made keep their versions.
    """
    (told,) = the_place(**where).activate([(key_of(name), version)], Activation(at, comment, force))
    if as_json:
        print_json(told)
    elif told["scheduledFor"]:
        click.echo(f"{told['kind']} pack {name} version {told['version']} decides from {told['scheduledFor']} on")
    else:
        click.echo(f"{told['kind']} pack {name} version {told['version']} decides now")


@click.command(
    epilog="\b\nExamples:\n  sentinai packs rollback --tenant ACME Trading --comment 'asked for approval too often'\n"
    "  sentinai packs rollback --tenant ACME Trading --scheduled\n"
    "  sentinai packs rollback --url https://sentinai.example --key $KEY tenant --json"
)
@click.argument("name")
@click.option("--scheduled", is_flag=True, help="Take back what is scheduled; what is in force stays.")
@_COMMENT
@place_options
@json_option
def rollback(name: str, scheduled: bool, comment: str | None, as_json: bool, **where: Any) -> None:
    """Bring the version of pack NAME back that was in force before. Exit code 1 if there is none.

    It decides everything that is not decided yet. Again goes one version further back.
    """
    told = the_place(**where).rollback(key_of(name), comment, scheduled)
    if as_json:
        print_json(told)
    elif scheduled:
        click.echo(f"taken back: version {', '.join(map(str, told['withdrawn']))} of {told['kind']} pack {name}")
    else:
        click.echo(f"{told['kind']} pack {name} version {told['activeVersion']} decides now")


def _stored(place: Place, pack: PackFile, comment: str | None) -> Json:
    put = place.put(pack, comment)
    for name in put.get("missingVariables", ()):
        click.echo(f"{pack.path}: workers need a value for ${{{name}}} in SENTINAI_PACK_VARIABLES", err=True)
    return {
        "kind": put["kind"],
        "name": put["name"],
        "version": put["version"],
        "new": put["created"],
        "active": put.get("active", put.get("state") == "active"),
    }


def _key(stored: Json) -> Any:
    return key_of("tenant" if stored["kind"] == PackKind.TENANT else stored["name"])
