"""The spine: an append-only Merkle log with proofs."""
