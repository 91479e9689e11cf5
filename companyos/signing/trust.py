"""Whose signatures count, for what, and when: a YAML file of keys and keyless identities.

```yaml
keys:
  - name: release            # unique
    public_key: file:keys/release.pem.pub
    roles: [evidence]        # what it may sign
    kind: machine            # or human
    not_before: 2026-01-01T00:00:00Z
    not_after: 2027-01-01T00:00:00Z
    revoked_at: null         # signatures made from then on do not count
identities:                  # keyless (Sigstore) signers
  - {name: ci, issuer: "https://token.actions.githubusercontent.com", subject: "https://…", roles: [evidence]}
```
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from companyos.config import parse_yaml
from companyos.errors import ConfigError
from companyos.signing.keys import PublicKey

__all__ = ("Identity", "TrustPolicy", "TrustedKey")


def _no_number(value: object) -> object:
    # pydantic would take 20990101 for seconds since 1970, and a bound in the future would lie in the past.
    if isinstance(value, (int, float)):
        raise ValueError("a time is written as text, 2026-01-31T00:00:00Z, and not as a number")  # noqa: TRY004 - pydantic's way
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]
"""An aware time."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrustedKey(_Model):
    """One key and what it may sign."""

    name: str
    """Its name, unique in the policy."""
    public_key: str
    """URI (`file:…`, relative to the policy, or `env:…`) or the PEM text itself."""
    roles: frozenset[str]
    """What it may sign: `ledger`, `evidence`, `approval`, ..."""
    kind: Literal["machine", "human"] = "machine"
    """A machine key never counts as a person's approval."""
    not_before: Moment | None = None
    """Signatures made earlier do not count."""
    not_after: Moment | None = None
    """Signatures made later do not count."""
    revoked_at: Moment | None = None
    """Signatures made from then on do not count."""

    def valid_at(self, moment: datetime) -> bool:
        """Whether a signature made at `moment` counts."""
        return (
            (self.not_before is None or self.not_before <= moment)
            and (self.not_after is None or moment <= self.not_after)
            and (self.revoked_at is None or moment < self.revoked_at)
        )


class Identity(_Model):
    """One keyless signer: who Sigstore's certificate must name, and who must have issued that name."""

    name: str
    """Its name, unique in the policy."""
    issuer: str
    """OIDC issuer."""
    subject: str
    """Subject alternative name of the certificate."""
    roles: frozenset[str]
    """What it may sign."""


class TrustPolicy(_Model):
    """The keys and identities that count."""

    keys: tuple[TrustedKey, ...] = ()
    """Trusted keys."""
    identities: tuple[Identity, ...] = ()
    """Trusted keyless identities; read and checked for form, but no verifier asks for them yet: they trust nobody."""
    base: Path = Path()
    """Directory that relative `file:` URIs start from."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> TrustPolicy:
        names = [*(key.name for key in self.keys), *(identity.name for identity in self.identities)]
        if len(names) != len(set(names)):
            raise ValueError("names in a trust policy must be unique")
        return self

    @classmethod
    def load(cls, path: Path) -> TrustPolicy:
        """Read a trust policy.

        Raises:
            ConfigError: it cannot be read or does not validate.
        """
        try:
            value = parse_yaml(path.read_text(encoding="utf-8"), str(path))
            return cls.model_validate({**value, "base": path.parent})
        except (OSError, UnicodeDecodeError, TypeError, ValidationError) as error:
            raise ConfigError(f"not a usable trust policy: {path}", got=error, hint="see docs/signing.md") from error

    @classmethod
    def of_key(cls, key: PublicKey, *roles: str) -> TrustPolicy:
        """A policy that trusts exactly one key, for `roles`."""
        return cls(keys=(TrustedKey(name="key", public_key=key.pem, roles=frozenset(roles)),))

    def keys_for(self, role: str, *, at: datetime | None = None) -> tuple[PublicKey, ...]:
        """The keys whose signatures of the kind `role`, made at `at` (default: now), count."""
        moment = at or datetime.now(UTC)
        return tuple(self._load(key) for key in self.keys if role in key.roles and key.valid_at(moment))

    def _load(self, key: TrustedKey) -> PublicKey:
        if "BEGIN" in key.public_key:
            return PublicKey.from_pem(key.public_key.encode())
        scheme, _, rest = key.public_key.partition(":")
        return PublicKey.load(f"file:{self.base / rest}" if scheme == "file" else key.public_key)
