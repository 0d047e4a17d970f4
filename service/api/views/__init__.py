"""The calls of the API, one blueprint for each of their kinds."""
