"""The local stack behind `make run`, `make test` and `sentinai stack`: real services, no container engine.

Nothing here is part of a production deployment, and nothing of the product imports it.
"""
