"""Celery's settings, from the same environment as everything else (service/settings.py)."""

import os

from service.dispatch.chains import EXCHANGE, STAGE_QUEUES, task_name
from service.domain.exceptions import Stage
from service.settings import load_settings
from tasks.bounds import memory_limit, time_limit

_settings = load_settings(os.environ)

broker_url = f"kafka://{_settings.kafka_bootstrap_servers.split(',')[0]}//"
broker_transport = "service.transport:Transport"
broker_transport_options = {
    "bootstrap_servers": _settings.kafka_bootstrap_servers,
    "group_id": _settings.worker_group,
    "partitions": _settings.partitions,
    "replication_factor": _settings.replication_factor,
    "unroutable": "raise",
    # A thousand references are a fifth of this, and brokers take twice as much where nobody says otherwise.
    "max_message_bytes": 1 << 19,
}
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
"""A broker that is away is waited for, however long."""

result_backend = _settings.redis_url
task_ignore_result = True
"""A stage's result is in PostgreSQL; nothing reads it from the backend."""

task_queues = STAGE_QUEUES
task_default_queue = Stage.INTAKE.queue
task_default_exchange = EXCHANGE.name
task_default_exchange_type = EXCHANGE.type
task_default_routing_key = f"{Stage.INTAKE.queue}.default"

task_acks_late = True
task_reject_on_worker_lost = True
"""A killed worker's batch is delivered again; the guard makes the repetition harmless."""
task_annotations = {task_name(stage): {"time_limit": time_limit(stage, _settings)} for stage in Stage}
"""A batch that takes longer ends its pool process and is divided; see docs/poison.md."""
worker_max_memory_per_child = memory_limit(_settings.worker_memory_mb) // 2 // 1024 or None
"""KiB. A pool process that once needed half of what it may have is replaced after its task."""
worker_prefetch_multiplier = 2
worker_send_task_events = True
worker_enable_soft_shutdown_on_idle = False
worker_hijack_root_logger = False
worker_cancel_long_running_tasks_on_connection_loss = False
"""A stage under way finishes: cancelling it could leave an effect in doubt, while its redelivery is harmless."""

task_serializer = "json"
accept_content = ["json"]
enable_utc = True
timezone = "UTC"

beat_schedule = {
    "audit-dead-letters": {"task": "tasks.audit_dead_letters", "schedule": 60.0, "options": {"expires": 50.0}},
    "forget-deliveries": {"task": "tasks.forget_deliveries", "schedule": 3600.0, "options": {"expires": 600.0}},
    "event-partitions": {"task": "tasks.ensure_event_partitions", "schedule": 3600.0, "options": {"expires": 600.0}},
}
