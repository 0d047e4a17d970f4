"""The HTTP API: takes exceptions in, shows what became of them, lets people decide.

`create_app` is all it offers; gunicorn runs it. The request path touches PostgreSQL and, for the tenant's
rate, Redis; never Kafka.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from service.settings import Settings

__all__ = ["create_app"]


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application. Opens no connection; reads the environment only when it is handed no settings."""
    # Imported here, so that gunicorn's master, which only reads gunicorn_config, stays small and ends at once.
    from service.api.app import build_app

    return build_app(settings)
