"""Measurements against stated bars; each program prints a table and writes build/bench/NAME.json."""
