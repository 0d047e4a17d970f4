"""What parts of a pack say about one another, and what is wrong with it."""
