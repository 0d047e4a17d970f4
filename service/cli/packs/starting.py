"""`sentinai packs new`: a small pack that is valid and whose suite passes, to be changed into one's own."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import click
import orjson

from service.cli.printing import json_option, print_json
from service.domain.packs.reading.documents import PackKind
from service.domain.packs.schemas import pack_schema
from service.errors import PermanentError

_DOMAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEMPLATES = resources.files("service.cli.packs") / "starter"


class FolderNotEmptyError(PermanentError):
    """There is something already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is not an empty folder; choose another, nothing is written over")


def _plain(pattern: re.Pattern[str], what: str, value: str) -> str:
    if not pattern.fullmatch(value):
        raise click.BadParameter(f"{value!r} cannot be the name of a {what}: letters, digits, '-' and '_' make one")
    return value


@click.command(
    epilog="\b\nExamples:\n  sentinai packs new hospital --domain HospitalClaims --tenant MERCY\n"
    "  sentinai packs new . --json\n"
    "  cd hospital && sentinai packs test HospitalClaims.domain.yaml --with MERCY.tenant.yaml"
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--domain", default="MyDomain", show_default=True, help="The domain's name.")
@click.option("--tenant", default="MY_TENANT", show_default=True, help="The tenant's id.")
@json_option
def new(folder: Path, domain: str, tenant: str, as_json: bool) -> None:
    """Write a commented domain pack and tenant pack, with a suite that passes, into an empty FOLDER.

    The formats' JSON Schemas are put beside them, for editors. Asks nothing and needs no installation. The folder is
    made if it is not there; a folder that has something in it is left as it is (exit code 1).
    """
    _plain(_DOMAIN, "domain", domain)
    _plain(_TENANT, "tenant", tenant)
    if folder.is_dir() and any(one.name != ".git" for one in folder.iterdir()):
        raise FolderNotEmptyError(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for template, name in (("domain.yaml", f"{domain}.domain.yaml"), ("tenant.yaml", f"{tenant}.tenant.yaml")):
        text = (_TEMPLATES / template).read_text("utf-8")
        (folder / name).write_text(text.replace("DOMAIN_NAME", domain).replace("TENANT_ID", tenant), "utf-8")
        written.append(str(folder / name))
    for kind in PackKind:
        schema = folder / "schemas" / f"{kind.value}-pack.json"
        schema.parent.mkdir(exist_ok=True)
        schema.write_bytes(orjson.dumps(pack_schema(kind), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if as_json:
        print_json({"files": written, "schemas": str(folder / "schemas")})
        return
    for path in written:
        click.echo(path)
    click.echo(f"\nnext:\n  sentinai packs validate {' '.join(written)}")
    click.echo(f"  sentinai packs test {written[0]} --with {written[1]}")
