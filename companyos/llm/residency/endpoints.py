"""Endpoints: which host a URL really names, and where that host is known to process what it is sent.

A region that a file declares is a wish. What counts is the host that the bytes go to, and that this host is on a list
with a source and a date: the one shipped here (`endpoints.yaml`), or the company's own.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from companyos.config import parse_yaml
from companyos.jurisdictions import jurisdiction_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

__all__ = ("BadEndpointError", "Endpoint", "Place", "find_place", "imitated", "parse_endpoint", "shipped_places")

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LIKENESS = 0.85
"""How like a listed name another one must be to be called its look-alike."""
_LONGEST = 2_048


class BadEndpointError(ValueError):
    """Not an endpoint that a prompt may be sent to; the text says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a URL says about where a request goes."""

    scheme: str
    """`https`, or `http` on this machine."""
    host: str
    """Name or address, lower case, without a final dot."""
    port: int
    """The port, also where the URL leaves it out."""

    @property
    def stays_here(self) -> bool:
        """Whether what is sent there never leaves this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Place:
    """Where one host, or every host of a pattern, processes what it is sent."""

    host: str
    """Host name; one `*` stands for one label, or for the part of it before a fixed ending."""
    region: str | None
    """Region as the vendor names it, `*` if the host names it, None if it is not known or may be anywhere."""
    also: tuple[str, ...]
    """Further jurisdictions in which it may process."""
    source: str
    """Where that is said: a URL or the name of a contract."""
    checked: date
    """When it was read."""

    def region_of(self, host: str) -> str | None:
        """The region of a host that this is about."""
        if self.region != "*":
            return self.region
        found = _pattern(self.host).fullmatch(host)
        return found[1] if found else None

    def fits(self, host: str) -> bool:
        """Whether this is about that host."""
        return _pattern(self.host).fullmatch(host) is not None

    def jurisdictions(self, host: str) -> frozenset[str]:
        """Everywhere that it may process; empty if that is not known."""
        region = self.region_of(host)
        first = None if region is None else jurisdiction_of(region)
        return frozenset() if first is None else frozenset({first, *self.also})


def parse_endpoint(url: str) -> Endpoint:
    """The endpoint of a URL.

    Raises:
        BadEndpointError: no `https:` URL (or `http:` to this machine), with a user, or a host that is not plain ASCII.
    """
    if len(url) > _LONGEST or any(char.isspace() or not char.isprintable() for char in url) or "\\" in url:
        raise BadEndpointError("it is no URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadEndpointError("it is no URL") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadEndpointError("it is no https URL")
    if parts.username is not None or parts.password is not None:
        raise BadEndpointError("a user stands before the host, which hides the host that is meant")
    host = parts.hostname.removesuffix(".")
    found = Endpoint(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))
    if not (_is_address(host) or _is_name(host)):
        raise BadEndpointError("the host is not written in plain ASCII letters, digits and hyphens")
    if parts.scheme == "http" and not found.stays_here:
        raise BadEndpointError("http may not leave this machine")
    return found


def find_place(host: str, places: Iterable[Place]) -> Place | None:
    """The entry about a host; an exact name comes before a pattern."""
    fitting = [place for place in places if place.fits(host)]
    return min(fitting, key=lambda place: "*" in place.host, default=None)


def imitated(host: str, names: Iterable[str]) -> str | None:
    """The listed name that an unlisted host would be taken for; None if it looks like none of them."""
    plain = _seen(host)
    for name in names:
        fixed = _seen(name.replace("*", ""))
        if fixed in plain or difflib.SequenceMatcher(None, plain, fixed).ratio() >= _LIKENESS:
            return name
    return None


@cache
def shipped_places() -> tuple[Place, ...]:
    """The endpoints that are shipped."""
    text = files("companyos.llm.residency").joinpath("endpoints.yaml").read_text(encoding="utf-8")
    return tuple(
        Place(row["host"], row.get("region"), tuple(row.get("also", ())), row["source"], row["checked"])
        for row in parse_yaml(text, "endpoints.yaml")
    )


@cache
def _pattern(host: str) -> re.Pattern[str]:
    return re.compile(re.escape(host).replace(r"\*", r"([a-z0-9-]+)"))


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _seen(host: str) -> str:
    """What is left of a name for a hasty eye: accents, hyphens and dots gone, digits as the letters they resemble."""
    folded = unicodedata.normalize("NFKD", host).encode("ascii", "ignore").decode().lower()
    return folded.translate(str.maketrans("01", "ol", "-.")).replace("rn", "m")
