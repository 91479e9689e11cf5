"""Planted violations of this room's controls, and clean cases; all of it made by the real logger, tracer and ledger."""
