"""Runs a stage over a batch: load, guard, decide, apply, and say who goes on."""
