"""What queues, groups and delays look like from outside, without taking part in them."""
