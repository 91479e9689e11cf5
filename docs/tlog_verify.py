# ruff: noqa: INP001, D103
"""Check a whole exported log with nothing but the Python library `cryptography`.

    python tlog_verify.py DIRECTORY VKEY

DIRECTORY is a log of static tiles (https://c2sp.org/tlog-tiles), VKEY its verifier key (https://c2sp.org/signed-note),
as text or as a file. Every entry, every tile, the root and its signature are checked. Prints what was proved and exits
0, or says what does not hold and exits 1.
"""

import base64
import hashlib
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def need(held: bool, what: str) -> None:
    if not held:
        raise ValueError(what)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def checkpoint(log: Path, vkey: str) -> tuple[str, int, bytes]:
    name, key_hash, encoded = vkey.strip().split("+", 2)
    key = base64.b64decode(encoded, validate=True)
    need(key[0] == 1 and sha256(name.encode() + b"\n" + key)[:4].hex() == key_hash, "not an Ed25519 verifier key")
    text, _, signatures = (log / "checkpoint").read_bytes().decode().rpartition("\n\n")
    ours = [line.split(" ")[2] for line in signatures.split("\n")[:-1] if line.startswith(f"\u2014 {name} ")]
    blobs = [blob for blob in map(base64.b64decode, ours) if blob[:4].hex() == key_hash]
    need(len(blobs) == 1, f"the checkpoint is not signed by {name}+{key_hash}")
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(blobs[0][4:], f"{text}\n".encode())
    origin, size, root = text.split("\n")[:3]
    need(origin == name, f"the checkpoint is of {origin}, not of {name}")
    return origin, int(size), base64.b64decode(root, validate=True)


def tree(hashes: list[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"")
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + tree(hashes[:half]) + tree(hashes[half:]))


def tile(log: Path, kind: str, index: int, width: int) -> bytes:
    parts = [f"{index // 1000**power % 1000:03d}" for power in range((len(str(index)) - 1) // 3, -1, -1)]
    full = log / "tile" / kind / "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
    partial = Path(f"{full}.p/{width}")  # where it is gone, the full tile stands in for it
    return (partial if width < 256 and partial.exists() else full).read_bytes()


def leaves(log: Path, index: int, width: int) -> list[bytes]:
    bundle, end, found = tile(log, "entries", index, width), 0, []
    for number in range(index * 256, index * 256 + width):
        start, end = end + 2, end + 2 + int.from_bytes(bundle[end : end + 2], "big")
        need(start <= len(bundle) >= end, f"the bundle is cut off at entry {number}")
        found.append(sha256(b"\0" + bundle[start:end]))
    need(end == len(bundle) or width < 256, "bytes after the last entry of a bundle")
    return found


def check(log: Path, vkey: str) -> str:
    origin, size, root = checkpoint(log, vkey)
    row = [leaf for at in range(0, size, 256) for leaf in leaves(log, at // 256, min(256, size - at))]
    need(tree(row) == root, "the entries are not those that the checkpoint signs")
    level = 0
    while row:
        for at in range(0, len(row), 256):
            hashes = b"".join(row[at : at + 256])
            stored = tile(log, str(level), at // 256, len(hashes) // 32)
            same = stored[: len(hashes)] == hashes and len(stored) in {len(hashes), 8192}
            need(same, f"tile {level}/{at // 256} is not that of the entries")
        level, row = level + 1, [tree(row[at - 256 : at]) for at in range(256, len(row) + 1, 256)]
    return f"ok: all {size} entries of {origin}"


if __name__ == "__main__":
    try:
        log, key = sys.argv[1:]  # a key is no path: its base64 may hold a double slash
        print(check(Path(log), Path(key).read_text("utf-8") if Path(key).is_file() else key))  # noqa: T201
    except (ValueError, IndexError, OSError, InvalidSignature) as error:
        sys.exit(f"not proved: {str(error) or 'the signature of the checkpoint does not hold'}")
