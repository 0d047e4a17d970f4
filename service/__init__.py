"""SentinAI: business exceptions, accepted once and resolved."""
