"""Our own engine of G02: what providers' tokens look like, and literals given to names that mean a secret.

Token shapes are the providers' published prefixes. Values that are placeholders or references never count, whatever
their shape. A detector yields the place, never the text that stands there.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

from companyos.guardrails.interface import Hit
from companyos.guardrails.secrets.placeholders import (
    entropy,
    is_filler,
    is_harmless_name,
    is_label,
    is_lock_file,
    is_passphrase,
    is_placeholder,
    is_reference,
)
from companyos.guardrails.tree import is_production

__all__ = ("DETECTORS", "SHAPES", "Detector", "line_of", "shaped")

Detector = Callable[[str, str], Iterable[Hit]]
"""Takes a path and its text, gives the places where a secret stands."""

_EDGE = r"(?<![A-Za-z0-9])"
SHAPES: dict[str, tuple[str, ...]] = {
    "G02.aws-key": (
        _EDGE + r"((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})(?![A-Za-z0-9])",
        r"(?i:aws.{0,24}(?:secret|access).{0,16}key).{0,6}?[=:]\s*[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    "G02.git-host-token": (
        _EDGE + r"(gh[pousr]_[A-Za-z0-9]{36,255})",
        _EDGE + r"(github_pat_[A-Za-z0-9_]{60,})",
        _EDGE + r"(gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,})",
    ),
    "G02.google-key": (
        _EDGE + r"(AIza[0-9A-Za-z_-]{35})(?![0-9A-Za-z_-])",
        _EDGE + r"(GOCSPX-[0-9A-Za-z_-]{28})",
    ),
    "G02.json-web-token": (_EDGE + r"(eyJ[A-Za-z0-9_-]{10,2000}+\.eyJ[A-Za-z0-9_-]{10,4000}+\.[A-Za-z0-9_-]{20,})",),
    "G02.model-provider-key": (
        _EDGE + r"(sk-ant-[a-z]+[0-9]{2}-[A-Za-z0-9_-]{40,})",
        _EDGE + r"(sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,})",
        _EDGE + r"(sk-[A-Za-z0-9]{20}T3Blbk" + r"FJ[A-Za-z0-9]{20})",
        _EDGE + r"(hf_[A-Za-z]{34})(?![A-Za-z])",
    ),
    "G02.package-registry-token": (
        _EDGE + r"(npm_[A-Za-z0-9]{36})(?![A-Za-z0-9])",
        _EDGE + r"(pypi-AgE[A-Za-z0-9_-]{60,})",
    ),
    "G02.slack-token": (
        _EDGE + r"(xox[abeoprs]-[0-9]{6,}[A-Za-z0-9-]{10,})",
        r"(hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,})",
    ),
    "G02.stripe-key": (_EDGE + r"((?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,})", _EDGE + r"(whsec_[0-9A-Za-z]{28,})"),
    "G02.private-key": (
        r"(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\n|[\s\"'+,;|])*[A-Za-z0-9+/=:,\- ]{40})",
    ),
}
"""The token shapes of each rule that goes by shape."""
_SCHEMES = (
    "postgres|postgresql|mysql|mariadb|mongodb|"
    "redis|rediss|amqp|amqps|mssql|sqlserver|oracle|clickhouse|nats|ldaps?|smtp"
)
# Every repetition is bounded, so that a file of one long line costs no more than its length.
_CONNECTION = re.compile(
    rf"\b(?:{_SCHEMES})(?:\+[a-z0-9]{{1,20}}){{0,2}}://([^\s:/@\"'<>]{{0,200}}):([^\s@\"'<>]{{1,200}})@([^\s/\"'<>:?]{{1,200}})"
)
_CONNECTION_FIELD = re.compile(r"(?i:;\s{0,9}(?:pwd|password)\s{0,9}=\s{0,9})([^;\s\"']{4,200})")
_CONNECTION_HEAD = re.compile(r"(?i:\b(?:server|data source|host)\s{0,9}=)[^\n\"']{0,300}\Z")
_URL = re.compile(
    r"\b(?:https?|ftps?|git\+https?|sftp|ssh)://([^\s:/@\"'<>]{1,200}):([^\s/@\"'<>]{1,200})@([^\s/\"'<>:?]{1,200})"
)
_LOCAL_HOSTS = frozenset(
    ("localhost", "127.0.0.1", "[::1]", "host.docker.internal", "db", "database", "postgres", "redis")
)

_KEYWORD = re.compile(
    r"passw(?:or)?d|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|(?:fernet|jwt|hmac)[_-]?key|private[_-]?key|"
    r"signing[_-]?key|encryption[_-]?key|master[_-]?key|credentials?|bearer",
    re.IGNORECASE,
)
_NAME_SIGNS_LONGEST = 64
_NAME_BEFORE = re.compile(rf"[A-Za-z0-9_.\-]{{0,{_NAME_SIGNS_LONGEST}}}")
_NAME_AFTER = re.compile(rf"[A-Za-z0-9_\-]{{0,{_NAME_SIGNS_LONGEST}}}")
_VALUE = r"(?:\"{3}|'{3}|[\"'`])(?P<value>[^\"'`\n]{6,500})[\"'`]"
_QUOTED = re.compile(
    r"[\"'\]]{0,3}\s{0,20}(?::\s{0,9}[A-Za-z&*][\w\[\]., |&*']{0,60})?\s{0,20}(?::=|={1,3}|:|=>|!=|,)\s{0,40}"
    r"(?:\(\s{0,40})?[rbuf]{0,2}" + _VALUE
)
_MACRO = re.compile(r"[ \t]{1,40}" + _VALUE)
_ELEMENT = re.compile(r"(?:\s[^<>\n]{0,80})?>(?P<value>[^<>\"'`\s]{6,500})</")
_DEFAULTED = re.compile(r"[\"']?\s{0,20}(?:,|\?\?|\|\||\)\s{0,20}or)\s{0,20}" + _VALUE)
_DEFAULTED_HEAD = re.compile(
    r"(?:environ\.get|getenv|process\.env|import\.meta\.env|env\()\s{0,9}\(?[\"']?[\w.\-]{0,200}\Z"
)
_BARE = re.compile(
    r"(?:[ \t]{0,20}[=:][ \t]{0,20}|[ \t]{1,20})(?P<value>[^\s\"'#,;]{6,500})[ \t]{0,20}(?:#.*)?$", re.MULTILINE
)
_BARE_HEAD = re.compile(r"(?:\A|\n)[ \t]{0,80}(?:export[ \t]+|ENV[ \t]+|ARG[ \t]+|-[ \t]+|set[ \t]+)?\Z")
_HEAD_LONGEST = 100
_HEADER = re.compile(
    r"(?P<name>(?i:authorization|x-api-key))[\"']?\s{0,9}[:=,]\s{0,9}[\"']?(?:(?i:bearer|basic|token)\s{1,9})"
    r"(?P<value>[A-Za-z0-9+/=_.\-]{16,500})"
)
_BARE_FILES = re.compile(
    r"(^|/)(\.env[^/]*|[^/]*\.env|[^/]*\.(ya?ml|ini|cfg|conf|properties|toml|tfvars|tf|sh|bash|Dockerfile)|Dockerfile[^/]*|\.npmrc|\.pypirc)$"
)
_TEMPLATE = re.compile(
    r"\$[{(]|\$[A-Za-z_]\w*(?:$|[/.:])|\$(?:argon2|2[aby]|pbkdf2|scrypt|[156y])|[{<]|\*{2}|%\w+%|"
    r".*(?:\$\{|\{\{|\{\w*\}|%\(|%s)|[A-Za-z_][\w.]*\(.*\)(?:\.\w+)*$|[\^].*[\[{(\\]"
)
_PORT = re.compile(r"\d{1,5}(?:/|$)")
_NOBODYS_HOST = re.compile(r"(?i)(?:^|\.)(?:example|invalid|test|localhost)(?:\.(?:com|org|net))?$|^host$")
_PASSWORD = re.compile(r"(?i)pass|pwd")


def line_of(text: str, offset: int) -> int:
    """The line, counted from 1, that holds this offset."""
    return bisect_left(_breaks(text), offset) + 1


@lru_cache(maxsize=4)
def _breaks(text: str) -> list[int]:
    return [match.start() for match in re.finditer("\n", text)]


def shaped(patterns: tuple[re.Pattern[str], ...], path: str, text: str) -> Iterator[Hit]:
    """The places where something of one of these shapes stands, unless it is filler."""
    for pattern in patterns:
        for match in pattern.finditer(text):
            if not is_filler(match.group(1).partition("KEY")[2] or match.group(1)):
                yield Hit(path, line_of(text, match.start(1)))


def _connection_strings(path: str, text: str) -> Iterator[Hit]:
    for match in _CONNECTION.finditer(text):
        user, password, host = match.groups()
        # A database of one's own machine whose password is the user's name guards nothing.
        harmless = host.lower() in _LOCAL_HOSTS and (password == user or len(password) < 12)
        harmless = harmless or bool(_PORT.match(password))
        if not (harmless or is_placeholder(password) or _is_template(password) or _is_template(host)):
            yield Hit(path, line_of(text, match.start()))
    for match in _CONNECTION_FIELD.finditer(text):
        named = _CONNECTION_HEAD.search(text, max(0, match.start() - 320), match.start())
        if named and not (is_placeholder(match.group(1)) or _is_template(match.group(1))):
            yield Hit(path, line_of(text, match.start()))


def _url_credentials(path: str, text: str) -> Iterator[Hit]:
    for match in _URL.finditer(text):
        user, password, host = match.groups()
        plain = password.lower() in {user.lower(), "password", "pass", "pw", "secret", "token"}
        if not (
            plain
            or is_placeholder(password)
            or _is_template(password)
            or _is_template(host)
            or _NOBODYS_HOST.search(host)
        ):
            yield Hit(path, line_of(text, match.start()))


def _assigned(path: str, text: str) -> Iterator[Hit]:
    if is_lock_file(path):
        return
    for name, value, offset in (*_named_values(text, bare=bool(_BARE_FILES.search(path))), *_headers(text)):
        if _is_secret(name, value, path):
            yield Hit(path, line_of(text, offset))


def _headers(text: str) -> Iterator[tuple[str, str, int]]:
    return ((m.group("name"), m.group("value"), m.start("value")) for m in _HEADER.finditer(text))


def _named_values(text: str, *, bare: bool) -> Iterator[tuple[str, str, int]]:
    # From the word outwards: a pattern that began with any sign of a name would try every sign of a long line.
    done = 0
    for word in _KEYWORD.finditer(text):
        if word.start() < done:
            continue
        start, done = _name_around(text, word)
        head = text[max(0, start - _HEAD_LONGEST) : start]
        tails = [_QUOTED]
        tails += [_DEFAULTED] if _DEFAULTED_HEAD.search(head + text[start:done]) else []
        tails += [_MACRO] if head.rstrip(" \t").endswith("#define") else []
        tails += [_ELEMENT] if head.endswith("<") else []
        tails += [_BARE] if bare and _BARE_HEAD.search(head if start > _HEAD_LONGEST else f"\n{head}") else []
        for tail in tails:
            match = tail.match(text, done)
            if match:
                yield text[start:done], match.group("value"), match.start("value")


def _name_around(text: str, word: re.Match[str]) -> tuple[int, int]:
    before = text[max(0, word.start() - _NAME_SIGNS_LONGEST) : word.start()]
    signs, rest = _NAME_BEFORE.match(before[::-1]), _NAME_AFTER.match(text, word.end())
    return word.start() - (signs.end() if signs else 0), rest.end() if rest else word.end()


def _is_secret(name: str, value: str, path: str) -> bool:
    if is_harmless_name(name) or is_placeholder(value) or _is_template(value):
        return False
    if " " in value and not re.match(r"(?i)(bearer|basic|token) \S{16,}$", value):
        return bool(_PASSWORD.search(name)) and is_production(path) and is_passphrase(value)
    random = len(value) >= 20 and entropy(value) >= 3.8
    if not is_production(path) or path.endswith((".md", ".rst")):
        return random and not is_reference(value)
    mixed = bool(re.search(r"[A-Za-z]", value) and re.search(r"\d", value))
    if _PASSWORD.search(name):
        symbols = bool(re.search(r"[!@#$%^&*?]", value))
        return (mixed or symbols or random) and not (is_reference(value) and not symbols)
    return not (is_reference(value) or is_label(value)) and (
        (mixed and len(value) >= 12 and entropy(value) >= 3.0) or random
    )


def _is_template(value: str) -> bool:
    return bool(_TEMPLATE.match(value))


DETECTORS: dict[str, Detector] = {
    **{rule: partial(shaped, tuple(re.compile(pattern) for pattern in patterns)) for rule, patterns in SHAPES.items()},
    "G02.assigned-secret": _assigned,
    "G02.connection-string": _connection_strings,
    "G02.url-credentials": _url_credentials,
}
"""One detector a rule."""
