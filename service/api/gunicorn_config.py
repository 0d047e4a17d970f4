"""How gunicorn runs the API: `gunicorn -c python:service.api.gunicorn_config 'service.api:create_app()'`.

Threads rather than processes carry concurrency, because a request mostly waits for PostgreSQL; a few
processes use the cores. Every setting can be overridden on gunicorn's command line, which wins.
"""

from __future__ import annotations

import os

bind = os.environ.get("SENTINAI_API_BIND", "127.0.0.1:8000")
"""Where to listen. Loopback unless told otherwise: TLS and the outside belong to a proxy."""
workers = int(os.environ.get("SENTINAI_API_WORKERS", "2"))
worker_class = "gthread"
threads = 8
"""As many as a process may open connections (service.api.app.POOL_SIZE), so that no request waits for one."""
backlog = 1024
keepalive = 30
"""Seconds that an idle connection is kept: longer than load balancers and clients take between requests."""
timeout = 60
graceful_timeout = 10
"""Seconds that requests under way have to finish after SIGTERM; new ones are no longer taken."""
max_requests = 0
preload_app = False
"""Each process builds its own application: a connection pool must not be shared across a fork."""
accesslog = None
errorlog = "-"
loglevel = os.environ.get("SENTINAI_LOG_LEVEL", "info")
limit_request_line = 8190
limit_request_fields = 100
control_socket_disable = True
