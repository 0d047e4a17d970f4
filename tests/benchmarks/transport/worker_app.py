"""What ``celery -A`` is pointed at."""

from tests.benchmarks.transport.application import app_from_environment

app = app_from_environment()
