"""What tests of every kind share: fixtures, a settings maker, and codes of the second factor."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEMO_EMAIL = "demo@example.com"


def fixture(name: str) -> Any:
    """The scenario `name`, for example `documents/lifecycle`."""
    return json.loads((ROOT / "fixtures" / f"{name}.json").read_text(encoding="utf-8"))


def environment(directory: Path) -> dict[str, str]:
    """An environment whose state is in `directory` and whose secrets are made up now."""
    return {
        "APP_ENV": "dev",
        "DATABASE_PATH": str(directory / "service.db"),
        "SESSION_KEY": secrets.token_urlsafe(48),
        "DEMO_EMAIL": DEMO_EMAIL,
        "DEMO_PASSWORD": secrets.token_urlsafe(24),
        "DEMO_TOTP_SECRET": base64.b32encode(secrets.token_bytes(20)).decode(),
        "COMPANYOS__LEDGER__URL": f"sqlite:///{directory / 'ledger.db'}",
        "COMPANYOS__LEDGER__KEY": f"file:{directory / 'ledger.pem'}",
        "COMPANYOS__LEDGER__KEYSTORE": str(directory / "people.db"),
        "COMPANYOS__FLAGS__FILE": str(directory / "flags.yaml"),
    }
