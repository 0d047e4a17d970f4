"""Texts to documents and packs: JSON and YAML with the line of every path."""
