"""Witnesses: others who remember how far a log had come, and sign only what continues it."""

from __future__ import annotations

from companyos.ledger.witness.client import Cosigned, Witness, check_with, merged, size_of
from companyos.ledger.witness.errors import WitnessRefusedError, WitnessUnavailableError
from companyos.ledger.witness.server import WitnessServer
from companyos.ledger.witness.state import WitnessState

__all__ = (
    "Cosigned",
    "Witness",
    "WitnessRefusedError",
    "WitnessServer",
    "WitnessState",
    "WitnessUnavailableError",
    "check_with",
    "merged",
    "size_of",
)
