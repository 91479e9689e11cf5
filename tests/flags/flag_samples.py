"""Flags to test with."""

from __future__ import annotations

from datetime import date

TODAY = date(2026, 7, 1)


def flag(**changes):
    """A sound definition, changed: keys of the metadata by name, others with `definition_`."""
    metadata = {
        "description": "Shows the new checkout.",
        "owner": "team-orders",
        "expires": "2026-12-31",
        "kind": "release",
        "issue": "https://tracker.example/orders/42",
    }
    definition = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    for name, value in changes.items():
        if name.startswith("definition_"):
            definition[name.removeprefix("definition_")] = value
        else:
            metadata[name] = value
    return {**definition, "metadata": {key: value for key, value in metadata.items() if value is not None}}
