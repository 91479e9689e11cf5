"""How parts of an HTTP request are shown: its method, its query and its URL, with secrets masked."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from companyos.observability.redaction import SECRET, as_text, is_secret_key
from companyos.observability.runtime import current
from companyos.observability.semconv import KNOWN_METHODS

__all__ = ("known_method", "place_of", "shown_query", "shown_url", "span_name")

MAX_QUERY = 4096
"""Bytes of a query that are looked at."""
_PORTS = {"http": 80, "https": 443}


def known_method(method: object) -> str:
    """A method of HTTP as it is, any other as `_OTHER`."""
    upper = as_text(method).upper()
    return upper if upper in KNOWN_METHODS else "_OTHER"


def span_name(method: str) -> str:
    """The name of a span of which no more than the method is known."""
    return "HTTP" if method == "_OTHER" else method


def shown_query(raw: bytes) -> str | None:
    """A query string with the values of secret names withheld and texts masked; None if nothing is left."""
    if not raw:
        return None
    mask = current().redactor.text
    pairs = parse_qsl(raw[:MAX_QUERY].decode("latin-1"), keep_blank_values=True)
    return urlencode([(mask(k), SECRET if _is_secret(k) else mask(v)) for k, v in pairs], safe="[]@/:") or None


def shown_url(url: str) -> str:
    """A URL without user, password and fragment, its query masked.

    Raises:
        ValueError: it is no URL (RFC 3986).
    """
    parts = urlsplit(url)
    query = shown_query(parts.query.encode("utf-8"))
    shown = current().redactor.text(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path or '/'}")
    return f"{shown}?{query}" if query else shown


def place_of(url: str) -> tuple[str, int | None]:
    """Host and port of a URL; the port of the scheme where none is given, None where that is not known.

    Raises:
        ValueError: it names no host, or no possible port.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("the URL names no host")
    return parts.hostname, parts.port if parts.port is not None else _PORTS.get(parts.scheme.lower())


def _is_secret(name: str) -> bool:
    # In a query, unlike elsewhere, `code` is what an authorization server hands out (RFC 6749, section 4.1.2).
    return name.lower() == "code" or is_secret_key(name)
