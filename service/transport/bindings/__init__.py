"""Exchanges and bindings, shared by every process of a cluster through a compacted topic."""
