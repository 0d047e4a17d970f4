"""/metrics: for the operators of the installation, not for tenants, whose figures it tells side by side.

With a token, whoever sends it as a bearer token may read. Without one, only a caller on the same host that no proxy
speaks for: so a fresh installation can be scraped, and one that a proxy serves to the world tells nothing.
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.context import services
from service.api.problems import FORBIDDEN, UNAUTHENTICATED, ProblemError

blueprint = Blueprint("metrics", __name__)

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus' text format."""
    _be_an_operator(services().settings.metrics_token)
    return Response(services().exposition.text(), content_type=CONTENT_TYPE_LATEST)


def _be_an_operator(token: str | None) -> None:
    """Raises ProblemError 401 or 403."""
    if token is not None:
        kind, _, sent = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(sent.strip().encode(), token.encode()):
            detail = "metrics are for operators: send the token of SENTINAI_METRICS_TOKEN as a bearer token"
            raise ProblemError(UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})
        return
    forwarded = any(name in request.headers for name in _FORWARDED)
    if forwarded or not _is_loopback(request.remote_addr):
        raise ProblemError(
            FORBIDDEN, "metrics are told on the same host only; to read them from elsewhere, set SENTINAI_METRICS_TOKEN"
        )


def _is_loopback(address: str | None) -> bool:
    try:
        return ip_address(address or "").is_loopback
    except ValueError:
        return False
