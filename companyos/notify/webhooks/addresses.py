"""Where a webhook may lead: to public addresses, and to those that the configuration names.

A URL that others may choose is a way into the sender's own network (server-side request forgery, CWE-918). So the
name is resolved once, every address that it has is looked at, and the connection is made to one of those very
addresses: a name that answers differently the second time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from companyos.errors import ConfigError
from companyos.notify.errors import WebhookAddressError, WebhookUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

__all__ = ("AddressRule", "look_up")

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_FOR_US = (
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's platform channel: public by number alone
    ipaddress.ip_network("192.88.99.0/24"),  # 6to4 relays
    ipaddress.ip_network("64:ff9b:1::/48"),  # NAT64 into private networks, RFC 8215
    ipaddress.ip_network("fec0::/10"),  # site-local of old
)


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver gives them.

    Raises:
        OSError: there are none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which addresses webhooks may lead to."""

    hosts: frozenset[str] = frozenset()
    """Names of hosts that may have any address."""
    networks: tuple[Network, ...] = ()
    """Networks that are allowed though they are not public."""
    resolve: Callable[[str, int], Sequence[str]] = field(default=look_up, compare=False)
    """The resolver."""

    @classmethod
    def parse(cls, allow: Iterable[str]) -> AddressRule:
        """The rule for a list of host names, addresses and networks.

        Raises:
            ConfigError: one of them is none of these.
        """
        hosts, networks = set(), []
        for entry in allow:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                if not entry or "/" in entry or "*" in entry or ":" in entry:
                    raise ConfigError(
                        "not a host, an address or a network", got=entry, expected="hooks.corp or 10.1.2.0/24"
                    ) from error
                hosts.add(entry.lower().rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def pinned(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, every one of them allowed.

        Raises:
            WebhookAddressError: one of them is not allowed, whatever the others are.
            WebhookUnreachableError: the name has no address.
        """
        try:
            found = list(self.resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise WebhookUnreachableError(f"the host {host} has no address") from error
        if not found:
            raise WebhookUnreachableError(f"the host {host} has no address")
        if host.lower().rstrip(".") not in self.hosts:
            for text in found:
                self._check(host, text)
        return found

    def _check(self, host: str, text: str) -> None:
        address = ipaddress.ip_address(text.partition("%")[0])
        if any(address.version == net.version and address in net for net in self.networks):
            return
        if not all(map(_is_public, _meant(address))):
            raise WebhookAddressError(
                f"the host {host} leads to {address}, which is not a public address",
                hint="if it is meant to, name the host or the network in `allow`",
            )


def _is_public(address: Address) -> bool:
    special = any(address.version == net.version and address in net for net in _NOT_FOR_US)
    return address.is_global and not address.is_multicast and not address.is_reserved and not special


def _meant(address: Address) -> list[Address]:
    """The addresses at which traffic to this one arrives: those that an IPv6 address carries inside count as well."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inside = [one for one in (address.sixtofour, *(address.teredo or ())) if one is not None]
    return [address, *inside]
