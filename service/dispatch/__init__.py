"""From the outbox to Celery chains: leased lanes, fair batches, a bounded number under way."""
