"""Why a witness could not be asked; what it found wrong with a log has the names of `companyos.ledger.errors`."""

from __future__ import annotations

from companyos.errors import UnverifiableError

__all__ = ("WitnessRefusedError", "WitnessUnavailableError")


class WitnessUnavailableError(UnverifiableError):
    """The witness did not answer, or not with a cosignature of its own that is of now."""

    code = "ledger.witness_unavailable"


class WitnessRefusedError(UnverifiableError):
    """The witness does not know the log, does not trust the key that signed, or has cosigned nothing of it yet."""

    code = "ledger.witness_refused"
