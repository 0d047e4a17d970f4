"""The application factory: the composition root of an API process."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, request
from uuid_utils import uuid7

from service.api import limits, problems
from service.api.auth import Authenticator
from service.api.context import EXTENSION, Services
from service.api.metrics import Exposition
from service.api.rates import TenantRates
from service.api.views import (
    actions,
    approvals,
    backtests,
    dead_letters,
    documentation,
    intake,
    metrics,
    operations,
    pack_formats,
    packs,
    pauses,
    payload,
    reading,
    redrive_operations,
    redriving,
    steps,
)
from service.keyring import build_sealing
from service.persistence.database import Role, open_engine
from service.secrets import build_secrets, mask_log_records
from service.settings import Settings, load_settings

POOL_SIZE = 4
"""Connections that a process keeps open, and half of what it may open: one for each of gunicorn_config's threads."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def build_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Opens no connection; reads the environment only when it is handed no settings."""
    settings = load_settings(os.environ) if settings is None else settings
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.READ_AT_MOST
    app.extensions[EXTENSION] = _services(settings)
    problems.register(app)
    app.before_request(_name_request)
    app.after_request(_finish)
    for view in (
        intake,
        actions,
        approvals,
        steps,
        pauses,
        payload,
        reading,
        dead_letters,
        redriving,
        redrive_operations,
        operations,
        metrics,
        packs,
        backtests,
        pack_formats,
        documentation,
    ):
        app.register_blueprint(view.blueprint)
    return app


def _services(settings: Settings) -> Services:
    secrets = build_secrets(os.environ, settings.secrets_directory)
    mask_log_records(secrets.known)
    sealing = build_sealing(settings, secrets)
    engine = open_engine(settings.database_url, Role.APPLICATION, pool_size=POOL_SIZE, tested=True, sealing=sealing)
    return Services(
        settings=settings,
        engine=engine,
        authenticator=Authenticator(engine),
        rates=TenantRates(
            engine, settings.redis_url, settings.rate_limit_per_second, cache_seconds=settings.pack_cache_seconds
        ),
        now=_now,
        # The only part that sees every tenant: it reads, and nothing of it is for tenants.
        exposition=Exposition(open_engine(settings.database_url, Role.SYSTEM, pool_size=1, tested=True)),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def _name_request() -> None:
    """Take the caller's request id over, if it is a plain one, so that both logs can be joined."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid7())


def _finish(response: Response) -> Any:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response
