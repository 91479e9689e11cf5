"""Planted violations of the built-in policies and of enforcement, and clean cases."""

from __future__ import annotations

from companyos.authz.specimens.obligations import obligations_control
from companyos.authz.specimens.playbook import playbook_control

__all__ = ("obligations_control", "playbook_control")
