"""The JSON Schemas of both pack formats, for editors and pipelines. They need no key."""

from __future__ import annotations

from functools import cache

import orjson
from flask import Blueprint, Response

from service.domain.packs.reading.documents import PackKind
from service.domain.packs.schemas import pack_schema

blueprint = Blueprint("pack_formats", __name__, url_prefix="/schemas")

_MAX_AGE_SECONDS = 300


@blueprint.get("/domain-pack.json")
def domain_pack() -> Response:
    """The schema of domain packs."""
    return _answer(PackKind.DOMAIN)


@blueprint.get("/tenant-pack.json")
def tenant_pack() -> Response:
    """The schema of tenant packs."""
    return _answer(PackKind.TENANT)


def _answer(kind: PackKind) -> Response:
    headers = {"Cache-Control": f"public, max-age={_MAX_AGE_SECONDS}", "Access-Control-Allow-Origin": "*"}
    return Response(_schema(kind), 200, headers, content_type="application/schema+json")


@cache
def _schema(kind: PackKind) -> bytes:
    return orjson.dumps(pack_schema(kind))
