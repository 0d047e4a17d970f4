"""A Kafka transport for kombu and Celery: at least once, in order per key, delayed, with remote control.

Use it in any Celery project::

    broker_url = "kafka://host:9092//"
    broker_transport = "service.transport:Transport"
    broker_transport_options = {"group_id": "my-application", "partitions": 8}

It imports nothing of the project around it. ``docs/transport.md`` explains guarantees, limits and every option.

Features
    * Type: virtual, with its own group consumers. Direct: yes. Topic: yes. Fanout: yes, stored for durable queues.
    * Acknowledgements move a contiguous watermark; what is finished above it travels in the commit's metadata.
    * Record key = routing key of topic exchanges (or ``partition_key=``); one unacknowledged message per key.
    * Event loop (prefork) and blocking (threads, solo) delivery; each queue has its own consumer and group.
    * ETA, countdown and retries wait in Kafka, not in a worker. Remote control, events, Flower.
    * Exchanges and bindings that every process knows, and message expiry.
    * Confirmed, idempotent publishing, alone or in batches (``Producer.batch``); safe over fork().

Limits
    * No priorities, no headers exchanges, no exchange-to-exchange bindings, no dead-letter exchanges: refused by name.
    * Bindings of stored queues are shared through Kafka; a copy of them may be ``bindings_max_age`` old when a message
      is routed, but never when it would be unroutable.
    * One consumer per queue and connection. Messages of auto-delete and exclusive queues are not stored for later.
    * At least once means: a crash, or a partition that moves during a long task, can run a task twice.
    * Green threads (gevent, eventlet) are refused.

Folders::

    channels         what kombu sees: declaring, publishing, acknowledging, and where a message goes
    bindings         exchanges and bindings, shared through a compacted topic
    consuming        from a topic to the worker and back to a commit: groups, inbox, ledger
    delays           where messages with a time wait, and what moves them on
    troubleshooting  what went wrong, in words a person can act on
    inspection       queues, groups and delays seen from outside
    operations       the command line, ACLs, topics made beforehand
    flower           Flower's plug-in

Options: see :class:`service.transport.options.Options`, where each is explained.

Threads and what each owns::

    hub or drain_events (main thread)          any thread
      Transport ─ Channel ─ QoS                  publish ──► Publisher ── Producer (librdkafka), one per process
          │ take          │ ack                  ack ──────► Inbox.finish ──► Assignment ─ Ledger (under its lock)
          ▼               ▼
        Session ── Inbox (lock) ◄── accept ── GroupConsumer "kafka-<group>.<queue>", one per queue: owns a Consumer
          │   ▲                                     └─ Commits, pauses, rebalances
          │   └── Wakeup (pipe) ◄── set by every thread that has something to deliver
          ├── Listener (lock) ◄─────── thread "kafka-listener"                     owns Consumer 2 (broadcasts)
          └── Mover ◄───────────────── GroupConsumer "kafka-<prefix>_delays"      owns Consumer 3 (delay topics)

A Consumer is touched by its thread only; others leave wishes (topics, stop). Locks are never held while calling
librdkafka or a callback; except that threads wait for the one that checks the shared bindings, which has no thread of
its own: whoever finds the copy too old opens a consumer, reads what is new, and closes it. A forked child owns none of
this: it starts anew when it first publishes, and the parent's handles are leaked in it on purpose, because their
destructors wait for threads that did not survive the fork.
"""

from .transport import Transport

__all__ = ["Transport"]
