"""Make .env.local from .env.example, with fresh secrets; an existing file is left alone."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECRETS = {
    "SESSION_KEY": lambda: secrets.token_urlsafe(48),
    "DEMO_PASSWORD": lambda: secrets.token_urlsafe(24),
    "DEMO_TOTP_SECRET": lambda: base64.b32encode(secrets.token_bytes(20)).decode(),
}


def main() -> None:
    """Write the file, readable by its owner only."""
    target = ROOT / ".env.local"
    if target.exists():
        return
    lines = []
    for line in (ROOT / ".env.example").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        lines.append(f"{name}={SECRETS[name]()}" if name in SECRETS and not value else line)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
