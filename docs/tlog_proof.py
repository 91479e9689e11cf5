# ruff: noqa: INP001
"""Check that an entry is in a log, with nothing but the Python library `cryptography`.

    python tlog_proof.py ENTRY PROOF VKEY

ENTRY is a file with the entry's exact bytes, PROOF a `.tlog-proof` file (https://c2sp.org/tlog-proof), VKEY the log's
verifier key (https://c2sp.org/signed-note), as text or as a file. Prints what was proved and exits 0, or says what does
not hold and exits 1.
"""

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def _sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _require(held: bool, what: str) -> None:
    if not held:
        raise ValueError(what)


def _unbase64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    _require(base64.b64encode(data).decode() == text, "Base64 is not in its canonical spelling")
    return data


def _checkpoint(note: str, vkey: str) -> tuple[str, int, bytes]:
    name, key_hash, encoded = vkey.strip().split("+", 2)
    key = _unbase64(encoded)
    _require(key[0] == 1 and _sha256(name.encode(), b"\n", key)[:4].hex() == key_hash, "not an Ed25519 verifier key")
    text, _, signatures = note.rpartition("\n\n")
    *lines, end = signatures.split("\n")
    _require(not end, "the checkpoint does not end in a newline")
    for dash, signer, blob in (line.split(" ") for line in lines):
        raw = _unbase64(blob)
        if (dash, signer, raw[:4].hex()) == ("\u2014", name, key_hash):
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], f"{text}\n".encode())
            origin, size, root = text.split("\n")[:3]
            _require(origin == name, f"the checkpoint is of {origin}, not of {name}")
            return origin, int(size), _unbase64(root)
    raise ValueError(f"the checkpoint is not signed by {name}+{key_hash}")


def _root_of(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    _require(0 <= index < size and bool(path) == (size > 1), "index outside of the log, or proof of the wrong length")
    if not path:
        return node
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        return _sha256(b"\x01", _root_of(node, index, half, path[:-1]), path[-1])
    return _sha256(b"\x01", path[-1], _root_of(node, index - half, size - half, path[:-1]))


def check(entry: bytes, proof: str, vkey: str) -> str:
    """What the proof of an entry proves, in one line; ValueError or InvalidSignature if it does not hold."""
    head, blank, note = proof.partition("\n\n")
    header, *lines = head.split("\n")
    _require(header == "c2sp.org/tlog-proof@v1" and bool(blank), "not a tlog-proof file")
    lines = lines[1:] if lines and lines[0].startswith("extra ") else lines
    word, number = lines[0].split(" ")
    _require(word == "index" and number.isascii() and number.isdigit(), "the proof has no index")
    origin, size, root = _checkpoint(note, vkey)
    found = _root_of(_sha256(b"\0", entry), int(number), size, [_unbase64(line) for line in lines[1:]])
    _require(found == root, f"these bytes are not entry {number} of {origin}")
    return f"ok: entry {number} of {origin}, which had {size} entries"


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: tlog_proof.py ENTRY PROOF VKEY (a key, or a file that holds one)")
    entry_file, proof_file, given = sys.argv[1:]
    try:
        key = Path(given).read_text("utf-8") if Path(given).is_file() else given
        result = check(Path(entry_file).read_bytes(), Path(proof_file).read_text("utf-8"), key)
    except (ValueError, IndexError, OSError, InvalidSignature) as error:
        sys.exit(f"not proved: {str(error) or 'the signature of the checkpoint does not hold'}")
    sys.stdout.write(f"{result}\n")
