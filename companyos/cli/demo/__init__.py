"""`companyos demo`: the main job from end to end, on real input, each step checked."""

from __future__ import annotations

from companyos.cli.demo.command import demo

__all__ = ("demo",)
