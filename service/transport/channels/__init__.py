"""What kombu sees of a connection: channels, declarations, where a message goes. AMQP in terms of topics."""
