"""The test application with Flower's plug-in, as any project would load it: `celery -A … flower`."""

from service.transport.flower import register
from tests.celery_kafka.apps.work import app

register()

__all__ = ["app"]
