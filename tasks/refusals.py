"""Why the worker refuses a message: said to the transport, whose dead letters show it.

Celery rejects what it cannot work (a task that nobody registered, no task at all, one it cannot read) and tells its log
why. The message goes to the dead-letter topic with its bytes and coordinates; here the reason is added.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps


class Refusals(bootsteps.StartStopStep):
    """Has the consumer write the reason on each message that it refuses."""

    def start(self, parent: Any) -> None:
        """Put a sentence in front of each kind of refusal."""
        kind = type(parent)

        def unknown_task(body: Any, message: Any, exc: BaseException) -> None:
            message.refusal = f"no task of the name {exc} is registered in worker {parent.hostname}"
            kind.on_unknown_task(parent, body, message, exc)

        def unknown_message(body: Any, message: Any) -> None:
            message.refusal = "it is no task message: it does not name a task"
            kind.on_unknown_message(parent, body, message)

        def invalid_task(body: Any, message: Any, exc: BaseException) -> None:
            message.refusal = f"its task message is invalid: {type(exc).__name__}: {exc}"[:500]
            kind.on_invalid_task(parent, body, message, exc)

        parent.on_unknown_task = unknown_task
        parent.on_unknown_message = unknown_message
        parent.on_invalid_task = invalid_task
