"""The Celery applications that the suite's processes run. They find their settings in one environment variable."""

SETTINGS_VARIABLE = "CELERY_KAFKA_SETTINGS"
"""A JSON object of Celery settings: broker, transport options, result backend."""
