"""What looks like a secret and is none: placeholders, references to a secret store, digests, plain words."""

from __future__ import annotations

import math
import re
from collections import Counter

__all__ = (
    "entropy",
    "is_filler",
    "is_harmless_name",
    "is_label",
    "is_lock_file",
    "is_passphrase",
    "is_placeholder",
    "is_reference",
)

_PLACEHOLDER = re.compile(
    r"example|sample|dummy|fake|change[-_ ]?(me|it|this)|replace|redacted|placeholder|your[-_ ]|<[^>]*>|insert|"
    r"x{4}|\*{3}|\.{3}|not[-_ ]?a[-_ ]?(real|secret)|for[-_ ]?test|test[-_ ]?(key|secret|token|pass)|"
    r"^(none|null|unset|(0123|1234|abcd|qwer)\w*)$",
    re.IGNORECASE,
)
_FILLER = re.compile(r"example|placeholder|redacted|x{6}|\*{3}|\.{3}|0{8}|123456789", re.IGNORECASE)
_REFERENCE = re.compile(
    r"^\s*(\$[({A-Za-z_]|%\(?\w+\)?[%s]|\{\{|\{[\w.\[\]()'\"!:]+\}|<%|#\{|@\w+@|!(Ref|Sub|GetAtt|vault)\b|env:|file:|vault:|"
    r"secret:|op://|arn:|ssm:|kms:|awskms|gcpkms|azurekms|projects/|(var|local|data|module|each|self|random_\w+)\.[a-z]|"
    r"(os\.|process\.env|import\.meta|settings\.|config\.|secrets?\.|getenv|environ)|[a-z]+://[^:@/]*/?$)",
)
_PUBLIC_KEY = re.compile(r"^\S+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,}$|^ssh-(rsa|ed25519) |^ecdsa-sha2-")
_DIGEST = re.compile(r"^(sha(1|224|256|384|512)|md5|blake2[bs]?|integrity|etag)[-:=]", re.IGNORECASE)
_WORDS = re.compile(r"^[A-Za-z]+([-_./: ]+[A-Za-z]+)*[-_.:/]?$|^[a-z][a-z0-9]*(\.[a-z_][a-z0-9_]*)+(\(.*\))?$")
_LABEL = re.compile(r"^[A-Za-z]+(?:[-_./:](?:[A-Za-z]+|\d{1,4}))+$")
_NOT_THE_SECRET = re.compile(
    r"(?i)(_|-|\b)(file|path|url|uri|name|names|id|ids|env|var|hash|hashes|digest|sha256|header|type|field|fields|ttl|regex|re|namespace|message|"
    r"pattern|length|prefix|suffix|expiry|expires|count|limit|policy|rule|rules|endpoint|placeholder|label|help|hint|format|"
    r"scheme|ref|version|kind)s?$|tokeni[sz]|max[_-]?tokens|token[_-]?(usage|budget|bucket|count)|public[_-]?key|"
    r"(password|token|secret)[A-Z]?(Url|Label|Type|Name|Path|File|Field|Hash|Id)$"
)
_LOCK_FILE = re.compile(
    r"(^|/)(package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|yarn\.lock|poetry\.lock|uv\.lock|pylock(\..+)?\.toml|"
    r"Pipfile\.lock|Cargo\.lock|go\.sum|\.terraform\.lock\.hcl|requirements[^/]*\.(txt|lock)|requirements/[^/]+\.txt)$"
)
_LONGEST_WORD = 20
_MOST_WORDS = 6
_DISTINCT_LEAST = 4
_DISTINCT_LEAST_IN_TOKEN = 8


def is_placeholder(value: str) -> bool:
    """Whether a value is there to be replaced, or too plain to be a secret."""
    text = value.strip()
    return len(set(text)) < _DISTINCT_LEAST or bool(_PLACEHOLDER.search(text))


def is_filler(token: str) -> bool:
    """Whether something of a provider's shape is the one from its documentation, or the same few signs repeated."""
    return len(set(token)) < _DISTINCT_LEAST_IN_TOKEN or bool(_FILLER.search(token))


def is_harmless_name(name: str) -> bool:
    """Whether a name speaks of a secret without holding one: `token_url`, `max_tokens`, `password_field`."""
    return bool(_NOT_THE_SECRET.search(name))


def is_reference(value: str) -> bool:
    """Whether a value names where the secret is kept (a variable, a store), or is a digest, a public key or words."""
    text = value.strip()
    words = _WORDS.match(text) and max(map(len, re.findall(r"[A-Za-z]+", text))) <= _LONGEST_WORD
    return bool(words or _REFERENCE.match(text) or _DIGEST.match(text) or _PUBLIC_KEY.match(text))


def is_label(value: str) -> bool:
    """Whether a value is words and small numbers, as the names of colours and versions are."""
    return bool(_LABEL.match(value)) and max(map(len, re.findall(r"[A-Za-z]+", value))) <= _LONGEST_WORD


def is_passphrase(value: str) -> bool:
    """Whether text with spaces is a password: few words, with signs, one of them spelt with figures inside."""
    figures, signs = re.search(r"[A-Za-z]\d+[A-Za-z]", value), re.search(r"[!@#$%^&*?]", value)
    return len(value.split()) <= _MOST_WORDS and bool(figures and signs)


def is_lock_file(path: str) -> bool:
    """Whether a file is a lock file, in which long random text is digests."""
    return bool(_LOCK_FILE.search(path))


def entropy(value: str) -> float:
    """Shannon entropy of a text in bits a character."""
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
