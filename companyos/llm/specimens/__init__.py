"""Planted violations and clean cases of the controls of this room."""

__all__ = ()
