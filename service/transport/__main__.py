"""``python -m service.transport``: look at queues and operate them."""

from .operations.cli import operations

operations(prog_name="python -m service.transport")
