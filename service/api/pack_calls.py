"""The calls about packs, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from service.api import pack_schemas as schemas
from service.api import problems
from service.api.calls import OF_BODIES, Call
from service.api.pack_bodies import MEDIA_TYPES
from service.api.paging import Paging


class Pack(BaseModel):
    """A domain or tenant pack. Its JSON Schema: /schemas/domain-pack.json, /schemas/tenant-pack.json."""

    model_config = ConfigDict(extra="allow")


ASKED = (Pack, schemas.PackTest, schemas.PackBacktest, schemas.PackActivation, schemas.PackRollback)
ANSWERED = (
    schemas.PackList,
    schemas.PackDetail,
    schemas.PackChecked,
    schemas.PackStored,
    schemas.PackTestReport,
    schemas.PackBacktestReport,
    schemas.PackActivated,
    schemas.PackRolledBack,
    schemas.PackHistory,
)
_READ = (problems.FORBIDDEN, problems.NOT_FOUND)
_COMMAND = (*_READ, problems.PACK_CONFLICT, *OF_BODIES)


def _call(name: str, summary: str, answer: type[BaseModel], **more: object) -> Call:
    return Call(name, summary, 200, answer, **{"refusals": _READ, **more})  # type: ignore[arg-type]


def _command(
    name: str, summary: str, answer: type[BaseModel], body: type[BaseModel], *more: problems.Kind
) -> dict[str, Call]:
    return {"post": _call(name, summary, answer, body=body, body_needed=False, refusals=(*_COMMAND, *more))}


def _calls(of: str, prefix: str) -> Mapping[str, Mapping[str, Call]]:
    """The calls of domain packs or of the tenant pack."""
    return {**_documents(of, prefix), **_commands(of, prefix), **_versions(of, prefix)}


def _documents(of: str, prefix: str) -> Mapping[str, Mapping[str, Call]]:
    """The newest document: shown, replaced, checked."""
    pack = {"body": Pack, "media_types": MEDIA_TYPES}
    return {
        prefix: {
            "get": _call(f"get{of}", "The newest version, with its ETag. Role operator.", schemas.PackDetail),
            "put": _call(
                f"put{of}",
                "Store a pack as the next version, a draft. 422 tells every fault with its path and line. Role admin.",
                schemas.PackStored,
                **pack,
                query=schemas.PackPut,
                headers=("If-Match", "If-None-Match"),
                refusals=(problems.FORBIDDEN, problems.CHANGED_MEANWHILE, *OF_BODIES),
            ),
        },
        f"{prefix}/validate": {
            "post": _call(
                f"validate{of}",
                "Check a pack without storing it. Role operator.",
                schemas.PackChecked,
                **pack,
                refusals=(problems.FORBIDDEN, *OF_BODIES),
            )
        },
    }


def _commands(of: str, prefix: str) -> Mapping[str, Mapping[str, Call]]:
    """What is done with a version: tried, put in force, taken back."""
    return {
        f"{prefix}/test": _command(
            f"test{of}", "Run a version's suites. Role operator.", schemas.PackTestReport, schemas.PackTest
        ),
        f"{prefix}/backtest": _command(
            f"backtest{of}",
            "Decide the last exceptions again, without any effect. Accept application/x-ndjson to get progress, "
            "line by line. Role operator.",
            schemas.PackBacktestReport,
            schemas.PackBacktest,
        ),
        f"{prefix}/activate": _command(
            f"activate{of}",
            "Make a version the one that decides, now or from an instant on. Role admin.",
            schemas.PackActivated,
            schemas.PackActivation,
            problems.TESTS_FAIL,
        ),
        f"{prefix}/rollback": _command(
            f"rollback{of}",
            "Bring back the version that was in force before. Role admin.",
            schemas.PackRolledBack,
            schemas.PackRollback,
        ),
    }


def _versions(of: str, prefix: str) -> Mapping[str, Mapping[str, Call]]:
    """What is kept of every version: its document, its last backtest, when it was in force."""
    return {
        f"{prefix}/versions": {"get": _call(f"listVersions{of}", "Every version. Role operator.", schemas.PackList)},
        f"{prefix}/versions/{{version}}": {
            "get": _call(f"getVersion{of}", "One version with its document. Role operator.", schemas.PackDetail)
        },
        f"{prefix}/versions/{{version}}/backtest": {
            "get": _call(
                f"getBacktest{of}",
                "The last backtest of a version, its differences in pages. Role operator.",
                schemas.PackBacktestReport,
                query=Paging,
                refusals=(*_READ, problems.INVALID),
            )
        },
        f"{prefix}/history": {
            "get": _call(f"getHistory{of}", "Who activated what when and why. Role operator.", schemas.PackHistory)
        },
    }


CALLS: Mapping[str, Mapping[str, Call]] = {
    "/packs": {
        "get": Call(
            "listPacks",
            "Every version of every pack of the tenant. Role operator.",
            200,
            schemas.PackList,
            refusals=(problems.FORBIDDEN,),
        )
    },
    "/schemas/domain-pack.json": {
        "get": Call("getDomainPackSchema", "The JSON Schema of domain packs, for editors.", 200, None, open=True)
    },
    "/schemas/tenant-pack.json": {
        "get": Call("getTenantPackSchema", "The JSON Schema of tenant packs, for editors.", 200, None, open=True)
    },
    **_calls("DomainPack", "/packs/domain/{name}"),
    **_calls("TenantPack", "/packs/tenant"),
}

PATH_PARAMETERS = {
    "name": {"type": "string", "description": "The domain's name."},
    "version": {"type": "integer", "minimum": 1},
}
HEADERS = {
    "If-Match": (
        "The ETag that your change was made on: 412 when somebody stored another version since.",
        {"type": "string", "pattern": '^(\\*|"?[0-9]{1,9}"?)$'},
    ),
    "If-None-Match": ("`*`: only if there is no such pack yet.", {"type": "string", "enum": ["*"]}),
}
