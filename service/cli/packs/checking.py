"""`sentinai packs validate` and `test`: what a pack repository's CI asks of every change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from service.cli.packs.files import PackFile, PackFileInvalidError, located, parsed, read_file, warnings_of
from service.cli.packs.places import key_of, place_options, the_place
from service.cli.printing import json_option, print_json
from service.domain.pack_suites import run_suites
from service.domain.packs import DomainPack, Fault, PackInvalidError, TenantPack
from service.engine.pack_pairs import case_of

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    epilog="\b\nExamples:\n  sentinai packs validate my.domain.yaml\n"
    "  sentinai packs validate my.domain.json my.tenant.json --json\n"
    "  sentinai packs validate --strict *.domain.yaml *.tenant.yaml"
)
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="A warning fails too.")
@json_option
def validate(files: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Check packs and name every fault, with its line. Exit code 1 when there is one.

    A tenant pack is checked against its domain pack if that is given too. Needs no installation.
    """
    told = _judged(files)
    if as_json:
        print_json([{**one, **{kind: _json(one[kind]) for kind in ("faults", "warnings")}} for one in told])
    else:
        for one in told:
            click.echo(f"{one['file']}: {one['kind'] or 'no'} pack, {'valid' if one['valid'] else 'NOT VALID'}")
            for label in ("faults", "warnings"):
                for fault in one[label]:
                    click.echo(f"  {label[:-1]}: {located(Path(one['file']), fault)}")
    if not all(one["valid"] and not (strict and one["warnings"]) for one in told):
        raise SystemExit(1)


@click.command(
    epilog="\b\nExamples:\n  sentinai packs test trading.domain.json\n"
    "  sentinai packs test trading.domain.json --with acme.tenant.json --json\n"
    "  sentinai packs test --tenant ACME Trading --version 3"
)
@click.argument("pack", metavar="FILE|NAME")
@click.option("--with", "tenant_file", type=FILE, help="The tenant pack to decide with (of a file).")
@click.option("--version", type=click.IntRange(1), help="Of a stored pack.  [default: the newest]")
@place_options
@json_option
def test(pack: str, tenant_file: Path | None, version: int | None, as_json: bool, **where: Any) -> None:
    """Run a pack's testSuites, case by case. Exit code 1 when one fails.

    With a domain pack's FILE it needs no installation. With the NAME of a stored pack (`tenant` for the tenant's
    own) it is decided as the tenant would, and the report is kept with the version.
    """
    if Path(pack).is_file():
        cases = _file_cases(Path(pack), tenant_file)
    elif where["tenant"] or where["url"]:
        cases = the_place(**where).test(key_of(pack), version, None)["cases"]
    else:
        raise click.UsageError(f"there is no file {pack!r}; a stored pack needs --tenant, or --url and --key")
    if as_json:
        print_json(cases)
    else:
        for case in cases:
            click.echo(f"{'pass' if case['passed'] else 'FAIL'}  {case['name']}")
            for miss in case["mismatches"]:
                click.echo(f"        {miss['key']}: expected {miss['expected']!r}, the pack says {miss['actual']!r}")
        click.echo(f"{sum(case['passed'] for case in cases)} of {len(cases)} cases pass")
        absent = Counter(rule for case in cases for rule in case.get("rulesWithAbsentFields", ()))
        for rule, number in absent.most_common():
            click.echo(f"        {rule} did not match for want of a field in {number} of {len(cases)} cases")
    if not all(case["passed"] for case in cases):
        raise SystemExit(1)


def _file_cases(path: Path, tenant_path: Path | None) -> list[dict[str, Any]]:
    files = [read_file(one) for one in (path, tenant_path) if one is not None]
    packs = [parsed(file, files) for file in files]
    domain, tenant = packs[0], packs[1] if len(packs) > 1 else None
    if not isinstance(domain, DomainPack) or (tenant is not None and not isinstance(tenant, TenantPack)):
        raise click.UsageError("FILE is a domain pack, and --with a tenant pack")
    try:
        return [case_of(result) for result in run_suites(domain, datetime.now(UTC), tenant)]
    except PackInvalidError as error:
        raise PackFileInvalidError(files[-1].path, error.faults) from None


def _judged(paths: Sequence[Path]) -> list[dict[str, Any]]:
    read: list[PackFile | PackFileInvalidError] = []
    for path in paths:
        try:
            read.append(read_file(path))
        except PackFileInvalidError as error:
            read.append(error)
    files = [one for one in read if isinstance(one, PackFile)]
    return [_verdict(path, one, files) for path, one in zip(paths, read, strict=True)]


def _verdict(path: Path, read: PackFile | PackFileInvalidError, files: Sequence[PackFile]) -> dict[str, Any]:
    told: dict[str, Any] = {"file": str(path), "kind": None, "valid": False, "faults": (), "warnings": ()}
    if isinstance(read, PackFileInvalidError):
        return {**told, "faults": read.faults}
    told["kind"] = read.given.kind
    try:
        return {**told, "valid": True, "warnings": warnings_of(read, parsed(read, files))}
    except PackFileInvalidError as error:
        return {**told, "faults": error.faults}


def _json(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    return [{"path": fault.path, "message": fault.message, "line": fault.line} for fault in faults]
