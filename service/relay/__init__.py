"""The relay: publishes the event log to Kafka as CloudEvents. What the records look like: docs/event-stream.md."""
