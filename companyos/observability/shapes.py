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

__all__ = ("ADDRESS", "SECRET", "hints", "is_secret_key", "masked", "needs_a_look")

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
    r"|(?P<named>(?i:(?:(?:password|passwd|passphrase|passcode|pwd|secret|token|authorization"
    r"|(?:api|access|account|auth|encryption|master|private|secret|shared|signing)[_-]?key)[\\\"']{0,4}\s{0,4}[=:]"
    # Short words only where they are set or quoted: "2 pass: 1 fail" is no secret.
    r"|(?<![A-Za-z])(?:pass|pin|cvv|cvc|iban|ssn|t?otp|session(?:[_-]?id)?|sig|signature)"
    r"(?:\s{0,4}=|[\\\"']{1,4}\s{0,4}[=:]))\s{0,4}[\\\"']{0,4}(?:(?:bearer|basic)\s{1,4})?))"
    r"(?:(?<=\")[^\"]{1,4096}|(?<=')[^']{1,4096}|[^\s,;&\"'\\]{1,4096})"
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
    r"(?<=@)|(?<=%)40"
    r"|(?<=-)(?:----begin|(?<=[kabeprsitx]-)(?:(?<=sk-)|(?<=xox[abeprs]-)|(?<=xapp-)|(?<=pypi-)|(?<=gl[dr]t-)"
    r"|(?<=gl(?:pat|cbt|ptt)-)|(?<=gocspx-)|(?<=age-)secret))"
    r"|(?<=_)(?:(?<=[rs]k_)(?:live|test)_|(?<=gh[pousr]_)|(?<=github_)pat_|(?<=whsec_)|(?<=npm_)|(?<=hf_)|(?<=dckr_)pat_"
    r"|(?<=shp(?:at|ss|ca|pa)_)|(?<=do[opr]_)v1_)"
    r"|(?<=\.)(?:(?<=hvs\.)|(?<=sg\.)|(?<=ya29\.)|(?<=hooks\.)slack"
)
_CARD_HINT = re.compile(r"[2-6][0-9 .-]{11}")
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
        or (("=" in text or ":" in text) and _NAMED_HINT.search(text) is not None)
        # Written out, because a loop over them would cost more than all of them.
        or "bearer" in text
        or "basic" in text
        or "eyj" in text
        or "akia" in text
        or "asia" in text
        or "aiza" in text
        or (
            (_CARD_HINT.search(text) is not None or _ACCOUNT_HINT.search(text) is not None)
            # Long numbers are common where numbers of cards are not.
            and digits.masked(text) != text
        )
    )


def masked(text: str) -> str:
    """`text` with secrets and e-mail addresses of known shapes replaced."""
    return _IN_TEXT.sub(_mask, text)


@lru_cache(maxsize=4096)
def is_secret_key(key: str) -> bool:
    """Whether a field of this name is masked: `db_password` is, `max_tokens`, `token_count` and `tokens` are not."""
    words = [word.lower() for word in _WORDS.findall(key)]
    if not words or words[-1] in _COUNTING:
        return False
    return not _SECRET_WORDS.isdisjoint(words) or _SECRET_PAIRS.search("_".join(words)) is not None


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind == "mail":
        return ADDRESS
    if kind in {"cookie", "named", "scheme"}:
        return f"{match[kind]}{SECRET}"
    return f"{match['user']}{SECRET}@" if kind == "user" else SECRET
