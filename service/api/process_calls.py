"""The calls about the processes themselves, as the OpenAPI document tells them: nobody needs an API key for them."""

from __future__ import annotations

from collections.abc import Mapping

from service.api import readiness_schemas as schemas
from service.api.calls import Call

ANSWERED = (schemas.Readiness,)

CALLS: Mapping[str, Mapping[str, Call]] = {
    "/healthz": {"get": Call("getHealth", "The process lives.", 200, None, open=True)},
    "/metrics": {
        "get": Call(
            "getMetrics",
            "Figures of the installation for Prometheus. For its operators: with the token of SENTINAI_METRICS_TOKEN "
            "as a bearer token, or, without one set, from the same host.",
            200,
            None,
            open=True,
        )
    },
    "/readyz": {
        "get": Call(
            "getReadiness",
            "The process can serve; 503 names what is missing.",
            200,
            schemas.Readiness,
            open=True,
        )
    },
}
