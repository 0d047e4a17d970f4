"""`sentinai bench`: measures throughput and latency of a whole running stack, and says so when it lost something.

It uses the product from outside (HTTP in, the event log and the ledger for what became of it) and is no part
of the product: nothing imports it but its command.
"""
