"""Messages with a time: where they wait in Kafka, and what moves them on when they are due."""
