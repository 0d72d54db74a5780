"""A Cosmos DB (NoSQL API) of our own for tests: what the adapter uses, and nothing else.

A real HTTP server for the real SDK, written from the documented REST API
(https://learn.microsoft.com/rest/api/cosmos-db/). It keeps what the adapter relies on (partitions,
ETags, atomic batches, ttl, indexed paths only, limits) and refuses loudly whatever else it is asked,
so that nothing can lean on it unnoticed.
"""
