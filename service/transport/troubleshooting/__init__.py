"""What went wrong, in words a person can act on: librdkafka's complaints heard, recognised, and told once."""
