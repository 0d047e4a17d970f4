"""Packs as they are found in the wild, brought to the one form that the models know."""
