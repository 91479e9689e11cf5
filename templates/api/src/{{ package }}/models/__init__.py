"""The values that go in and out."""
