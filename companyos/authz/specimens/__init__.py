"""Planted violations of the built-in policies, and clean requests."""

from __future__ import annotations

from companyos.authz.specimens.playbook import playbook_control

__all__ = ("playbook_control",)
