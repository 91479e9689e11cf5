# ruff: noqa: INP001
"""Check an entry of a log, or a whole exported log, with nothing but the Python library `cryptography`.

    python tlog_verify.py ENTRY PROOF VKEY
    python tlog_verify.py DIRECTORY VKEY

ENTRY is a file with an entry's exact bytes, PROOF a `.tlog-proof` file (https://c2sp.org/tlog-proof), DIRECTORY a log
of static tiles (https://c2sp.org/tlog-tiles), VKEY the log's verifier key (https://c2sp.org/signed-note), as text or as
a file. Prints what was proved and exits 0, or says what does not hold and exits 1.
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


def _mth(hashes: list[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else _sha256()
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return _sha256(b"\x01", _mth(hashes[:half]), _mth(hashes[half:]))


def _tile(log: Path, kind: str, index: int, width: int) -> tuple[bytes, bool]:
    digits = f"{index:0{(len(str(index)) + 2) // 3 * 3}d}"
    parts = [f"x{digits[place : place + 3]}" for place in range(0, len(digits), 3)]
    full = log / "tile" / kind / "/".join([*parts[:-1], digits[-3:]])
    partial = Path(f"{full}.p/{width}")  # where it is gone, the full tile stands in for it
    return (partial.read_bytes(), True) if partial.exists() else (full.read_bytes(), width == 256)


def _leaves(log: Path, index: int, width: int) -> list[bytes]:
    (bundle, own), place, found = _tile(log, "entries", index, width), 0, []
    for number in range(index * 256, index * 256 + width):
        end = place + 2 + int.from_bytes(bundle[place : place + 2], "big")
        _require(place + 2 <= len(bundle) >= end, f"the bundle is cut off at entry {number}")
        found.append(_sha256(b"\0", bundle[place + 2 : end]))
        place = end
    _require(place == len(bundle) or not own, "bytes after the last entry of a bundle")
    return found


def check_log(log: Path, vkey: str) -> str:
    """What an exported log proves, in one line: every entry, every tile, the root and its signature hold."""
    origin, size, root = _checkpoint((log / "checkpoint").read_text("utf-8"), vkey)
    level, count, row, edge = 0, size, [], []
    while count:
        above, rest = [], []
        for index in range((count + 255) // 256):
            width = min(256, count - index * 256)
            hashes = row[index * 256 : index * 256 + width] if level else _leaves(log, index, width)
            stored, own = _tile(log, str(level), index, width)
            _require(stored[: 32 * width] == b"".join(hashes), f"tile {level}/{index} is not that of the entries")
            _require(len(stored) == (32 * width if own else 8192), f"tile {level}/{index} has the wrong length")
            if width == 256:
                above.append(_mth(hashes))
            else:
                rest = hashes
        edge = [_mth(rest + edge)] if rest or edge else []
        level, count, row = level + 1, len(above), above
    _require(_mth(edge) == root, "the entries are not those that the checkpoint signs")
    return f"ok: all {size} entries of {origin}"


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit("usage: tlog_verify.py ENTRY PROOF VKEY, or DIRECTORY VKEY (a key, or a file that holds one)")
    first, given = Path(sys.argv[1]), sys.argv[-1]
    try:
        key = Path(given).read_text("utf-8") if Path(given).is_file() else given
        if len(sys.argv) == 3:
            result = check_log(first, key)
        else:
            result = check(first.read_bytes(), Path(sys.argv[2]).read_text("utf-8"), key)
    except (ValueError, IndexError, OSError, InvalidSignature) as error:
        sys.exit(f"not proved: {str(error) or 'the signature of the checkpoint does not hold'}")
    sys.stdout.write(f"{result}\n")
