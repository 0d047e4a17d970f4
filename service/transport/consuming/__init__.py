"""From a queue's topic to the worker and back to a commit: one group consumer per queue, one inbox per connection."""
