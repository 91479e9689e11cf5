"""Values that must not leave, and values that only look like them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("HOST", "LOOKALIKES", "NAMES", "PLANTED", "TENANT", "Planted")

TENANT = "Brightwater Foods"
"""A tenant whom the company names."""
HOST = "*.brightwater.example"
"""Hosts that the company names."""


class Planted(NamedTuple):
    """A value that must be withheld."""

    rule: str
    """What kind it is, the end of a rule's name."""
    value: str
    """The value, as it is sent."""
    cores: tuple[str, ...]
    """The parts that must not come out."""


def _joined(*parts: str) -> str:
    return "".join(parts)


def _separated(separator: str, *parts: str) -> str:
    return separator.join(parts)


def _secret(*parts: str, core: str | None = None) -> Planted:
    value = _joined(*parts)
    return Planted("secret", value, (core or parts[-1],))


_HEX = "9f86d081884c7d659a2feaa0c55ad015"
_MIXED = "q8Zt3LmV0xYw7RbN5cKd2HsJ9fGa4PeU"
_JWT = ("eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiI0MiJ9", "dBjftJeZ4CVPmB92K27uhbUJU1p1r")

PLANTED: dict[str, Planted] = {
    "GitHub token": _secret("gh", "p_", _MIXED + "Xy12"),
    "GitHub fine-grained token": _secret("github", "_pat_", "11ABCDEFG0" + _MIXED),
    "AWS access key": _secret("AK", "IA", "Q3EGRZ7PXW5TLMNB"),
    "AWS temporary key": _secret("AS", "IA", "Q3EGRZ7PXW5TLMNB"),
    "Slack token": _secret("xo", "xb-", "2048-5120-" + _MIXED),
    "Stripe key": _secret("sk", "_live_", _MIXED),
    "Google key": _secret("AI", "za", "Sy" + _MIXED + "x"),
    "model provider key": _secret("s", "k-", "proj-" + _MIXED),
    "GitLab token": _secret("gl", "pat-", _MIXED[:20]),
    "npm token": _secret("np", "m_", _MIXED + "abcd"),
    "package index token": _secret("py", "pi-", "AgEIcHlwaS5vcmc" + _MIXED),
    "signed token": _secret(".".join(_JWT), core=_JWT[1]),
    "bearer header": _secret("Bea", "rer ", _MIXED),
    "basic header": _secret("Ba", "sic ", "YW5uOnN1cGVyc2VjcmV0"),
    "private key": _secret("-----BEGIN ", "PRIVATE KEY-----\n", "MIIEvQ" + _MIXED, core="MIIEvQ"),
    "private key of an elliptic curve": _secret("-----BEGIN EC ", "PRIVATE KEY-----\nMHcCAQ" + _MIXED, core="MHcCAQ"),
    "password in a URL": _secret("postgresql://app:", "grey-otter-31", "@db/orders", core="grey-otter-31"),
    "password after an equals sign": _secret("pass", "word=", "grey-otter-31"),
    "password after a colon": _secret("pass", "word: ", "grey-otter-31"),
    "environment variable": _secret("AWS_SECRET_ACCESS", "_KEY=", _MIXED),
    "header with a token": _secret("Authori", "zation: Token ", _MIXED),
    "password on a command line": _secret("app --pass", "word ", "grey-otter-31"),
    "password in an element": _secret("<pass", "word>", "grey-otter-31", "</pass", "word>", core="grey-otter-31"),
    "key in an element with a prefix": _secret("<db:api", "Key n='1'>", _HEX, "</db:api", "Key>", core=_HEX),
    "name beside its value": _secret("<add name='pass", "word' value='", "grey-otter-31", "'/>", core="grey-otter-31"),
    "name beside its value in JSON": _secret(
        '{"name": "db_pass', 'word", "value": "', "grey-otter-31", '"}', core="grey-otter-31"
    ),
    "password in base64": _secret("pass", "word=", "Z3JleS1vdHRlci0zMQ=="),
    "password in a URL's query, encoded": _secret("next=%2Fx%3Fpass", "word%3D", "grey-otter-31"),
    "password encoded twice": _secret("pass", "word%253D", "grey-otter-31"),
    "password in look-alike letters": _secret("p\u0430ss", "word=", "grey-otter-31"),
    "e-mail address encoded twice": Planted("address", _joined("ann.lee%25", "40example.org"), ("ann.lee",)),
    "e-mail address escaped in JSON": Planted("address", _joined("ann.lee\\uff", "20example.org"), ("ann.lee",)),
    "cookie header": _secret("Coo", "kie: sid=", _HEX),
    "e-mail address": Planted("address", _joined("ann.lee", "@mail.example.org"), ("ann.lee",)),
    "e-mail address with a tag": Planted("address", _joined("ann.lee+orders", "@example.org"), ("ann.lee", "orders@")),
    "e-mail address in capitals": Planted("address", _joined("ANN.LEE", "@EXAMPLE.ORG"), ("ANN.LEE",)),
    "e-mail address with a name": Planted("address", _joined("<ann.lee", "@example.org>"), ("ann.lee",)),
    "e-mail address in a link": Planted("address", _joined("mailto:ann.lee", "@example.org"), ("ann.lee",)),
    "card number": Planted("card", _joined("4539", "1488", "0343", "6467"), ("14880343",)),
    "card number with spaces": Planted("card", _separated(" ", "4539", "1488", "0343", "6467"), ("1488 0343",)),
    "card number with hyphens": Planted("card", _separated("-", "4539", "1488", "0343", "6467"), ("1488-0343",)),
    "card number with spaces that do not break": Planted(
        "card", _separated("\u00a0", "4539", "1488", "0343", "6467"), ("1488\u00a00343",)
    ),
    "card number of 15 digits": Planted("card", _joined("3782", "822463", "10005"), ("822463",)),
    "card number over two lines": Planted("card", _joined("4539 1488", "\n", "0343 6467"), ("0343 6467",)),
    "card number over two lines, in one": Planted("card", _joined("45391488", "\r\n  ", "03436467"), ("03436467",)),
    "account number": Planted("account", _joined("DE89", "3704", "0044", "0532", "0130", "00"), ("37040044",)),
    "account number with spaces": Planted(
        "account", _separated(" ", "DE89", "3704", "0044", "0532", "0130", "00"), ("0044 0532",)
    ),
    "account number of Great Britain": Planted("account", _joined("GB82", "WEST", "12345698765432"), ("WEST1234",)),
    "internal host": Planted("host", "db-7.orders.internal", ("db-7.orders",)),
    "internal host with a port": Planted("host", "db-7.corp:5432", ("db-7.corp",)),
    "host of a cluster": Planted("host", "http://pay.prod.svc.cluster.local/x", ("pay.prod.svc",)),
    "host that the company names": Planted("host", "vault.brightwater.example", ("vault.brightwater",)),
    "tenant": Planted("word", TENANT, ("Brightwater",)),
    "tenant in capitals": Planted("word", TENANT.upper(), ("BRIGHTWATER",)),
}
"""By name; none of them stands under a name that would give it away."""

NAMES = (
    "password", "dbPassword", "api_key", "X-API-Key", "authorization", "client_secret", "sessionId", "private_key",
    "access_token", "pin", "cvv", "ssn", "iban", "p\u0430ssword", "\uff54oken",
)  # fmt: skip
"""Names of fields whose values are masked whatever they are."""

LOOKALIKES = {
    "a UUID": "018f6f2e-9c1b-7cc3-8d11-3f5a2b7c9e10",
    "a digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "a digest with its algorithm": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "a commit": "3f2c1ab9d7e64f05a1b2c3d4e5f60718293a4b5c",
    "a trace id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "an order number": "ORD-2026-000123-77",
    "an order number of 16 digits": "1234567890123456",
    "milliseconds since 1970": "1772366400123",
    "nanoseconds since 1970": "1772366400123456789",
    "a time": "2026-03-01T12:00:00.000000Z",
    "a version": "12.4.1-rc.2+build.7",
    "an image": "registry.example.org/shop/orders:1.4.2",
    "a URL without a password": "https://shop.example.org:8443/orders?page=2&sort=asc",
    "a public host": "www.example.org",
    "a path": "/var/lib/orders/2026/03/01.parquet",
    "a count of tests": "2 pass: 1 fail",
    "a count of tokens": "512 tokens used",
    "a sentence about a key": "the key of the door is under the mat",
    "an address of documentation": "192.0.2.17",
    "a package": "pkg:pypi/structlog@25.1.0",
    "a number with a decimal point": "4539148.80343",
    "an element": "<title>password rules</title>",
    "an element that counts": "<tokens>512</tokens>",
    "a name beside a value": "<add name='page-size' value='20'/>",
    "a path that is encoded": "/files/a%2520b%2Fc",
    "a share": "at 100%25 of the limit",
    "a query that is encoded": "next=%2Forders%3Fpage%3D2",
    "two numbers": "45391488 then 03436468",
    "a phrase with an at sign": "meet @ noon",
    "an account number whose check digits are wrong": "XX00 1234 ABCD",
}
"""Values that must come out as they are."""
