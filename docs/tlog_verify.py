# ruff: noqa: INP001
"""Check that an entry is in a log, with nothing but the Python library `cryptography`.

    python tlog_verify.py ENTRY PROOF VKEY

ENTRY is a file with the entry's exact bytes, PROOF a `.tlog-proof` file (https://c2sp.org/tlog-proof), VKEY the log's
verifier key (https://c2sp.org/signed-note), as text or as a file. Prints what was proved and exits 0, or says what does
not hold and exits 1.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def unbase64(text: str) -> bytes:
    """The bytes in Base64, which must be in its one canonical spelling."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("Base64 is not in its canonical spelling")
    return data


def checkpoint(note: str, vkey: str) -> tuple[str, int, bytes]:
    """Origin, size and root of a checkpoint signed by the key (c2sp.org/tlog-checkpoint)."""
    name, key_hash, encoded = vkey.strip().split("+", 2)
    key = unbase64(encoded)
    if key[0] != 1 or sha256(name.encode() + b"\n" + key)[:4].hex() != key_hash:
        raise ValueError("the verifier key is not an Ed25519 key, or does not match its hash")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    *lines, end = signatures.split("\n")
    if end:
        raise ValueError("the checkpoint does not end in a newline")
    for line in lines:
        dash, signer, blob = line.split(" ")
        raw = unbase64(blob)
        if (dash, signer, raw[:4].hex()) == ("\u2014", name, key_hash):
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], text.encode())
            origin, size, root = text.split("\n")[:3]
            if origin != name:
                raise ValueError(f"the checkpoint is of {origin}, not of {name}")
            return origin, int(size), unbase64(root)
    raise ValueError(f"the checkpoint is not signed by {name}+{key_hash}")


def root_of(entry: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root to which an inclusion proof leads (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        raise ValueError(f"entry {index} is outside of a log of {size}")
    node, place, last = sha256(b"\x00" + entry), index, size - 1
    for sibling in path:
        if last == 0:
            raise ValueError("the proof is too long")
        if place % 2 or place == last:
            node = sha256(b"\x01" + sibling + node)
            while place and not place % 2:
                place, last = place // 2, last // 2
        else:
            node = sha256(b"\x01" + node + sibling)
        place, last = place // 2, last // 2
    if last:
        raise ValueError("the proof is too short")
    return node


def check(entry: bytes, proof: str, vkey: str) -> str:
    """What the proof proves, in one line; ValueError or InvalidSignature if it does not hold."""
    head, blank, note = proof.partition("\n\n")
    header, *lines = head.split("\n")
    if header != "c2sp.org/tlog-proof@v1" or not blank:
        raise ValueError("not a tlog-proof file")
    if lines and lines[0].startswith("extra "):
        lines.pop(0)
    word, number = lines.pop(0).split(" ")
    if word != "index" or not (number.isascii() and number.isdigit()):
        raise ValueError("the proof has no index")
    origin, size, root = checkpoint(note, vkey)
    if root_of(entry, int(number), size, [unbase64(line) for line in lines]) != root:
        raise ValueError(f"these bytes are not entry {number} of {origin}")
    return f"ok: entry {number} of {origin}, which had {size} entries"


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.stderr.write("usage: tlog_verify.py ENTRY PROOF VKEY (a verifier key, or a file that holds one)\n")
        sys.exit(2)
    given = sys.argv[3]
    try:
        key = Path(given).read_text("utf-8") if Path(given).is_file() else given
        result = check(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_text("utf-8"), key)
    except (ValueError, IndexError, InvalidSignature) as error:
        sys.exit(f"not proved: {str(error) or 'the signature of the checkpoint does not hold'}")
    sys.stdout.write(f"{result}\n")
