"""The API told: its OpenAPI document, and a page for reading that needs nothing from elsewhere."""

from __future__ import annotations

import orjson
from flask import Blueprint, Response, render_template

from service.api import openapi, problems

blueprint = Blueprint("documentation", __name__)


@blueprint.get("/openapi.json")
def openapi_json() -> Response:
    """The OpenAPI 3.1 document."""
    return Response(orjson.dumps(openapi.document()), content_type="application/json")


@blueprint.get("/docs")
def reading_page() -> str:
    """Every call, every schema and every kind of problem on one page."""
    document = openapi.document()
    return render_template("docs.html", api=document, schemas=document["components"]["schemas"], kinds=problems.KINDS)
