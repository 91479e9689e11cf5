"""What can be wrong with a key or a signature."""

from __future__ import annotations

from companyos.errors import ConfigError, IntegrityError, UnverifiableError

__all__ = ("KeyUnusableError", "SignatureInvalidError", "UntrustedError")


class KeyUnusableError(ConfigError):
    """A key cannot be loaded, stored or used."""

    code = "signing.key"


class SignatureInvalidError(IntegrityError):
    """A signature was checked against a known key and does not hold, or its container is malformed."""

    code = "signing.invalid"


class UntrustedError(UnverifiableError):
    """No signature is by a key that the trust policy accepts for this purpose at this time."""

    code = "signing.untrusted"
