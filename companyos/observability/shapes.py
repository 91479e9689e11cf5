"""What secrets and addresses look like in a text, and a quick test that finds most texts free of them.

The shapes are those that the issuers publish: prefixes of tokens, PEM (RFC 7468), credentials in URLs (RFC 3986,
section 3.2.1), JSON Web Tokens (RFC 7519), `name=value` pairs of well-known names, e-mail addresses (RFC 5322, in their
usual form). Every repetition is bounded or taken whole, so that the work grows with the length of the text and no
faster.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from companyos.observability import digits

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("ADDRESS", "SECRET", "hints", "is_secret_key", "masked", "needs_a_look", "plainly", "unwrapped")

SECRET = "[secret]"  # noqa: S105 - what stands in place of one
"""What stands in place of a secret."""
ADDRESS = "[email]"
"""What stands in place of an e-mail address."""

_SECRET_WORDS = frozenset(
    {"authorization", "cookie", "credential", "credentials", "jwt", "otp", "totp", "passcode", "passphrase", "passwd"}
    | {"pass", "password", "pwd", "dbpass", "secret", "secrets", "token", "apikey", "privatekey", "accesskey"}
    | {"secretkey", "accountkey", "authtoken", "accesstoken", "refreshtoken", "clientsecret", "pin", "cvc", "cvv"}
    | {"iban", "ssn", "session", "sessionid", "sig", "signature"}
)
_SECRET_PAIRS = re.compile(r"(?:^|_)(?:api|private|access|signing|encryption|master|session)_(?:key|id)(?:_|$)")
_COUNTING = frozenset(
    {"bytes", "count", "expires", "length", "limit", "max", "ms", "remaining"}
    | {"seconds", "size", "total", "ttl", "type", "used"}
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_IN_TEXT = re.compile(
    r"(?P<pem>-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z))"
    r"|(?P<scheme>(?i:\b(?:bearer|basic)\s{1,4}))[A-Za-z0-9._~+/=-]{8,}"
    # Up to the last @ of the word, because a password may hold any of /@: itself; a port is no password.
    r"|(?P<user>(?i:[a-z][a-z0-9+.-]{0,20})://)[^\s/@:\"]{0,256}:(?![0-9]{1,5}[/?#])[^\s\"]{1,256}@"
    r"|(?P<cookie>(?i:\b(?:set-)?cookie)[\"']?\s{0,4}:\s{0,4})[^\r\n]{1,2048}"
    # The parameters of a scheme (RFC 9110, section 11.4) are as secret as its token; in quotes, up to their end.
    r"|(?P<credentials>(?i:\bauthorization)\s{0,4}:\s{0,4})[^\s\"'][^\r\n]{0,2048}"
    r"|(?P<named>(?i:(?:(?:password|passwd|passphrase|passcode|pwd|secret|token|authorization"
    r"|(?:api|access|account|auth|encryption|master|private|secret|shared|signing)[_-]?key)"
    # The text of bytes, as of the headers of ASGI: `(b'x-api-key', b'...')`.
    r"[\\\"']{0,4}\s{0,4}(?:[=:]|,(?=\s?b[\\\"']))"
    # Short words only where they are set or quoted: "2 pass: 1 fail" is no secret.
    r"|(?<![A-Za-z])(?:pass|pin|cvv|cvc|iban|ssn|t?otp|session(?:[_-]?id)?|sig|signature)"
    r"(?:\s{0,4}=|[\\\"']{1,4}\s{0,4}[=:]))\s{0,4}(?:b(?=[\\\"']))?[\\\"']{0,4}(?:(?:bearer|basic)\s{1,4})?))"
    r"(?:(?<=\")[^\"]{1,4096}|(?<=')[^']{1,4096}|[^\s,;&\"'\\]{1,4096})"
    # Elements of XML, and a name beside its value, as attributes and in JSON.
    r"|(?P<element>(?i:<(?:[\w.-]{1,40}:)?[\w.-]{0,40}(?:password|passwd|passphrase|passcode|pwd|secret|token"
    r"|(?:api|access|account|private|secret)[_-]?key)(?:\s[^<>]{0,200})?>)(?:<!\[CDATA\[)?)[^<>]{1,4096}"
    r"|(?P<pair>(?i:\b(?:name|key|id)[\\\"']{0,4}\s{0,4}[=:]\s{0,4}[\\\"']{1,4}[\w.:-]{0,40}"
    r"(?:password|passwd|passphrase|passcode|pwd|secret|token|(?:api|access|account|private|secret)[_-]?key)"
    r"[\\\"']{1,4}[\s,;]{1,4}[\\\"']{0,4}value[\\\"']{0,4}\s{0,4}[=:]\s{0,4}[\\\"']{1,4}))[^\"'\\]{1,4096}"
    # Command lines, also as the list that a failed subprocess shows.
    r"|(?P<option>(?i:--[\w-]{0,40}(?:password|passwd|passphrase|secret|token|(?:api|access|private|secret)[_-]?key))"
    r"(?:\s{1,4}|[\"'],\s{1,4}[\"']))[^\s\"'-][^\s\"']{0,1024}"
    r"|(?P<known>(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]{0,4096}){2,4}"
    r"|(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}|gl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{16,}"
    r"|npm_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|dckr_pat_[A-Za-z0-9_-]{20,}"
    r"|hvs\.[A-Za-z0-9_-]{20,}|shp(?:at|ss|ca|pa)_[A-Za-z0-9]{20,}|do[opr]_v1_[a-f0-9]{32,}"
    r"|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,})"
    r"|(?<![A-Za-z0-9])hooks\.slack\.com/services/[A-Za-z0-9/]{10,200})"
    # The last label begins with a letter: `lodash@4.17.21` is a version, not somebody's address. Letters beyond ASCII
    # may be escaped, as in the text of bytes and in JSON.
    r"|(?P<mail>[\w.%+-]{1,64}(?:@|%40)(?:[\w\\-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62})",
    re.DOTALL,
)

# The quick test looks at a lower-cased ASCII text that begins with a line end. Every shape above has one of these in
# it. Tokens are found from their separator backwards, because separators are rare where letters are not.
_SEPARATED = (
    r"(?<=@)|(?<=%)(?:40|25|3[ad])"
    r"|(?<=-)(?:----begin|(?<=[kabeprsitx]-)(?:(?<=sk-)|(?<=xox[abeprs]-)|(?<=xapp-)|(?<=pypi-)|(?<=gl[dr]t-)"
    r"|(?<=gl(?:pat|cbt|ptt)-)|(?<=gocspx-)|(?<=age-)secret))"
    r"|(?<=_)(?:(?<=[rs]k_)(?:live|test)_|(?<=gh[pousr]_)|(?<=github_)pat_|(?<=whsec_)|(?<=npm_)|(?<=hf_)|(?<=dckr_)pat_"
    r"|(?<=shp(?:at|ss|ca|pa)_)|(?<=do[opr]_)v1_)"
    r"|(?<=\.)(?:(?<=hvs\.)|(?<=sg\.)|(?<=ya29\.)|(?<=hooks\.)slack"
)
_CARD_HINT = re.compile(r"[2-6][0-9 .\t\r\n-]{11}")
_ESCAPED_HINT = re.compile(r"\\u|[0-9]\\[rn]")
_ACCOUNT_HINT = re.compile(r"[^a-z0-9][a-z][a-z][0-9][0-9][ a-z0-9-]{11}")
_NAMED_HINT = re.compile(
    r"://|cookie|passw|passp|passc|pwd|secret|token|authorization|key|pass|pin|cv[cv]|iban|ssn|otp|session|sig"
)


def hints(own: Iterable[str]) -> re.Pattern[str]:
    """One pattern for the shapes known here and for `own` endings of host names."""
    endings = "".join(f"|{re.escape(ending)}" for ending in own)
    return re.compile(rf"[-_.@%](?:{_SEPARATED}{endings}))")


def needs_a_look(text: str, separated: re.Pattern[str]) -> bool:
    """Whether a lower-cased ASCII text that begins with a line end may hold anything that would be masked."""
    return (
        separated.search(text) is not None
        or (
            ("=" in text or ":" in text or "--" in text or ", b" in text or ",b" in text or "</" in text)
            and _NAMED_HINT.search(text) is not None
        )
        # Written out, because a loop over them would cost more than all of them.
        or "bearer" in text
        or "basic" in text
        or "eyj" in text
        or "akia" in text
        or "asia" in text
        or "aiza" in text
        or ("\\" in text and _ESCAPED_HINT.search(text) is not None)
        or (
            (_CARD_HINT.search(text) is not None or _ACCOUNT_HINT.search(text) is not None)
            # Long numbers are common where numbers of cards are not.
            and digits.masked(digits.joined(text)) != digits.joined(text)
        )
    )


# Letters of other scripts that look like those of ASCII (Unicode TS 39, "confusables"), the common ones.
_LIKE = dict(
    zip(
        "\u0430\u0435\u043e\u0440\u0441\u0445\u0443\u0456\u0455\u043a\u0442\u0501\u0461\u03bf\u03b1\u03c1\u03ba\u03c4\u03bd\u0131",
        "aeopcxyisktdwoapktvi",
        strict=True,
    )
)
MAX_ENCODINGS = 3
"""Encodings one in the other that are undone."""
# Of what is escaped only what may belong to a shape; a line end that was escaped stays so.
_PERCENT = re.compile(r"%((?:2[0-9a-f])|(?:3[a-f0-9])|40|(?:[46][1-9a-f])|(?:[57][0-9a]))", re.IGNORECASE)
_ESCAPE = re.compile(r"\\{1,4}u((?:00[2-7]|03[9-c]|04[0-5]|050|ff[0-5])[0-9a-f])", re.IGNORECASE)
_PLAINER = {
    **{ord(other): plain for other, plain in _LIKE.items()},
    **{ord(other.upper()): plain.upper() for other, plain in _LIKE.items() if len(other.upper()) == 1},
    **{0xFF01 + place: chr(0x21 + place) for place in range(94)},
    **{first + digit: str(digit) for first in (0x660, 0x6F0) for digit in range(10)},
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-"),
    **dict.fromkeys((0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF)),
}


def plainly(text: str) -> str:
    """`text` in ASCII's letters, digits and signs where it has others that look the same; invisible ones left out."""
    return text.translate(_PLAINER)


def unwrapped(text: str) -> str:
    """`text` as it reads once escapes of URLs and of JSON are undone and numbers go on over the end of a line."""
    for _ in range(MAX_ENCODINGS):
        shorter = _ESCAPE.sub(_character, _PERCENT.sub(_character, text))
        if shorter == text:
            break
        text = shorter
    return plainly(digits.joined(text))


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def masked(text: str) -> str:
    """`text` with secrets and e-mail addresses of known shapes replaced."""
    return _IN_TEXT.sub(_mask, text)


@lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether a field of this name is masked: `db_password` is, `max_tokens`, `token_count` and `tokens` are not."""
    words = [word.lower() for word in _WORDS.findall(key if key.isascii() else plainly(key))]
    if not words or words[-1] in _COUNTING:
        return False
    return not _SECRET_WORDS.isdisjoint(words) or _SECRET_PAIRS.search("_".join(words)) is not None


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "mail":
        return ADDRESS
    if kind in {"cookie", "credentials", "element", "named", "option", "pair", "scheme"}:
        return f"{match[kind]}{SECRET}"
    return f"{match['user']}{SECRET}@" if kind == "user" else SECRET
