"""Planted violations and clean cases of the controls in this room; secrets are assembled when a specimen is built."""
