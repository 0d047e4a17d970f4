"""Packs joined and compiled: what the stages decide with."""
