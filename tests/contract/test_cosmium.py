"""Cosmium, an independent reading of Cosmos DB's wire and queries (github.com/pikami/cosmium)."""

import pytest


@pytest.mark.skip(
    reason="Cosmium: not wired. With Go: go install github.com/pikami/cosmium/cmd/server, start it with "
    "-DataStore badger, and name its address in COSMOS_TEST_ENDPOINT"
)
def test_cosmium_reads_our_requests_as_the_double_does():
    """It ignores ETags in batches, does not make them atomic and knows no ttl: those tests would not hold there."""
