"""The HTTP API: takes exceptions in, shows what became of them, lets people decide.

`create_app` is all it offers; gunicorn runs it. The request path touches PostgreSQL and, for the tenant's
rate, Redis; never Kafka.
"""

from service.api.app import create_app

__all__ = ["create_app"]
