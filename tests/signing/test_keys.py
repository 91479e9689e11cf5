"""Keys: made, stored, found by URI, rotated, and refused when they are no good."""

from __future__ import annotations

import multiprocessing
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from companyos.signing import KeyUnusableError, PrivateKey, PublicKey, SignatureInvalidError, retired, rotate
from companyos.signing.keys import low_s

if TYPE_CHECKING:
    from pathlib import Path

ALGORITHMS = ("ed25519", "ecdsa-p256")
FORK = multiprocessing.get_context("fork")


def _pem(key: object, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


UNKNOWN_CURVE = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAX8DQgAEAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
-----END PUBLIC KEY-----
"""

BAD_PRIVATE = {
    "empty": b"",
    "not PEM": b"hello",
    "binary": bytes(range(256)),
    "header only": b"-----BEGIN PRIVATE KEY-----\n",
    "encrypted": _pem(ed25519.Ed25519PrivateKey.generate(), b"secret"),
    "RSA": _pem(rsa.generate_private_key(65537, 2048)),
    "Ed448": _pem(ed448.Ed448PrivateKey.generate()),
    "P-384": _pem(ec.generate_private_key(ec.SECP384R1())),
    "a public key": PrivateKey.generate().public.pem.encode(),
}
BAD_PUBLIC = {
    "empty": b"",
    "not PEM": b"hello",
    "RSA": rsa.generate_private_key(65537, 2048)
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    "unknown curve": UNKNOWN_CURVE,
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sign_and_verify(algorithm):
    """What a key signs, its public half accepts, and nothing else."""
    key = PrivateKey.generate(algorithm)
    signature = key.sign(b"data")

    key.public.verify(signature, b"data")

    assert algorithm == key.public.algorithm
    for bad, data in ((signature, b"Data"), (signature[:-1], b"data"), (b"", b"data"), (signature + b"\0", b"data")):
        with pytest.raises(SignatureInvalidError, match="does not hold"):
            key.public.verify(bad, data)
    with pytest.raises(SignatureInvalidError):
        PrivateKey.generate(algorithm).public.verify(signature, b"data")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_saved_key_is_private_and_loads(tmp_path, algorithm):
    """A saved key has mode 0600, its directory 0700, and its public half lies beside it."""
    path = tmp_path / "keys" / "a.pem"
    key = PrivateKey.generate(algorithm)

    key.save(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.pem", "a.pem.pub"]
    assert key.public.key_id == PrivateKey.load(f"file:{path}").public.key_id
    assert key.public.key_id == PublicKey.load(f"file:{path}").key_id
    assert key.public.key_id == PublicKey.load(f"file:{path.with_name('a.pem.pub')}").key_id


def test_representation_hides_the_key():
    """Neither repr nor str of a private key shows its bytes."""
    key = PrivateKey.generate()
    raw = key.key.private_bytes_raw()

    assert raw.hex() not in repr(key) + str(key)
    assert repr(raw) not in repr(key)


def test_key_from_environment():
    """`env:NAME` holds PEM, and the mapping given is the one read."""
    key = PrivateKey.generate()
    environ = {"KEY": _pem(key.key).decode()}

    assert key.public.key_id == PrivateKey.load("env:KEY", environ).public.key_id
    assert key.public.key_id == PublicKey.load("env:KEY", environ).key_id
    with pytest.raises(KeyUnusableError, match="environment variable OTHER"):
        PrivateKey.load("env:OTHER", environ)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o607])
def test_private_key_open_to_others_is_refused(tmp_path, mode):
    """A private key that anybody on the machine may read or write is not used, and the message says what to do."""
    path = tmp_path / "a.pem"
    PrivateKey.generate().save(path)
    path.chmod(mode)

    with pytest.raises(KeyUnusableError, match="chmod 600"):
        PrivateKey.load(f"file:{path}")


@pytest.mark.parametrize("name", BAD_PRIVATE)
def test_bad_private_key(tmp_path, name):
    """Whatever is not an unencrypted Ed25519 or P-256 private key is refused, without showing it."""
    path = tmp_path / "bad.pem"
    path.write_bytes(BAD_PRIVATE[name])
    path.chmod(0o600)

    with pytest.raises(KeyUnusableError) as caught:
        PrivateKey.load(f"file:{path}")

    assert caught.value.code == "signing.key"
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize("name", BAD_PUBLIC)
def test_bad_public_key(name):
    """Whatever is not an Ed25519 or P-256 public key is refused."""
    with pytest.raises(KeyUnusableError):
        PublicKey.from_pem(BAD_PUBLIC[name])


@pytest.mark.parametrize("uri", ["", "file:", "env:", "ledger.pem", "https://example.com/key", "FILE:a"])
def test_bad_uri(uri):
    """Only `file:PATH` and `env:NAME` are key URIs."""
    with pytest.raises(KeyUnusableError, match="not a key URI"):
        PrivateKey.load(uri)


def test_bad_uri_is_not_echoed():
    """A private key passed where a URI belongs does not end up in the message."""
    pem = _pem(PrivateKey.generate().key).decode()

    with pytest.raises(KeyUnusableError) as caught:
        PrivateKey.load(f"pem:{pem}")

    assert pem.splitlines()[1] not in str(caught.value)


def test_missing_key_names_the_command(tmp_path):
    """A missing key file is one message with the command that makes one."""
    with pytest.raises(KeyUnusableError, match="companyos keys new --out"):
        PrivateKey.load(f"file:{tmp_path / 'none.pem'}")


def test_keys_are_never_overwritten(tmp_path):
    """Saving over an existing file fails and leaves it, and nothing else, behind."""
    path = tmp_path / "a.pem"
    path.write_text("mine")

    with pytest.raises(FileExistsError):
        PrivateKey.generate().save(path)

    assert path.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["a.pem"]


def test_unwritable_place(tmp_path):
    """A key that cannot be written is an error about the key, not a traceback from the system."""
    (tmp_path / "file").write_text("")

    with pytest.raises(KeyUnusableError, match="cannot write the key"):
        PrivateKey.generate().save(tmp_path / "file" / "a.pem")


def _create(path: Path, results) -> None:
    results.put(PrivateKey.load_or_create(f"file:{path}").public.key_id)


def test_racing_creation(tmp_path):
    """Of processes that make the same key at once, one wins, and all use that one."""
    for attempt in range(5):
        path = tmp_path / f"{attempt}.pem"
        results = FORK.SimpleQueue()
        workers = [FORK.Process(target=_create, args=(path, results)) for _ in range(8)]
        for worker in workers:
            worker.start()
        made = {results.get() for _ in workers}
        for worker in workers:
            worker.join()

        assert {PrivateKey.load(f"file:{path}").public.key_id} == made
    assert [f"{n}.{kind}" for n in range(5) for kind in ("pem", "pem.pub")] == sorted(
        f.name for f in tmp_path.iterdir()
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rotation(tmp_path, algorithm):
    """After a rotation the URI holds a new key of the same kind, and the old public halves are kept."""
    uri = f"file:{tmp_path / 'a.pem'}"
    first = PrivateKey.load_or_create(uri, algorithm).public

    old, new = rotate(uri)
    _, newest = rotate(uri)

    assert first.key_id == old.key_id
    assert newest.public.key_id == PrivateKey.load(uri).public.key_id
    assert newest.public.key_id == PublicKey.load(f"file:{tmp_path / 'a.pem.pub'}").key_id
    assert algorithm == newest.public.algorithm
    assert {first.key_id, new.public.key_id} == {key.key_id for key in retired(uri)}
    assert stat.S_IMODE((tmp_path / "a.pem").stat().st_mode) == 0o600
    kinds = sorted(path.name[len("a.pem") :] for path in tmp_path.iterdir())
    assert kinds == sorted(["", ".lock", ".pub", *(f".{key.key_id[:16]}.pub" for key in retired(uri))])


def test_retired_keys_of_another_name_do_not_count(tmp_path):
    """Only what was kept beside this very key is a retired key of it."""
    for name in ("a.pem", "b.pem", "a*.pem"):
        PrivateKey.generate().save(tmp_path / name)
        rotate(f"file:{tmp_path / name}")

    assert len(retired(f"file:{tmp_path / 'a.pem'}")) == 1
    assert len(retired(f"file:{tmp_path / 'a*.pem'}")) == 1
    assert retired("env:KEY") == ()
    assert retired(f"file:{tmp_path / 'none.pem'}") == ()


@pytest.mark.parametrize("uri", ["env:KEY", "file:none.pem"])
def test_rotation_refused(uri):
    """Only an existing key file can be rotated."""
    with pytest.raises(KeyUnusableError):
        rotate(uri)


def test_ecdsa_signatures_are_made_low_s():
    """Of the two values that hold we always make the lower one, and the other one is told apart from it."""
    key = PrivateKey.generate("ecdsa-p256")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for number in range(16):
        made = key.sign(bytes([number]))
        r, s = decode_dss_signature(made)
        other = encode_dss_signature(r, order - s)
        assert 2 * s < order
        key.public.verify(other, bytes([number]))
        assert (made, made) == (low_s(made), low_s(other))


@pytest.mark.parametrize("signature", [b"", b"x" * 64, b"not DER", encode_dss_signature(0, 0)])
def test_what_is_no_ecdsa_signature_is_left_alone(signature):
    """Only an ECDSA signature has two spellings."""
    assert signature == low_s(signature)


def test_a_key_pasted_in_place_of_its_uri_is_not_shown():
    """A PEM key given where a URI belongs reaches neither a terminal nor a log."""
    pem = PrivateKey.generate().pem.decode()
    for uri in (pem, f"env:{pem}", pem.replace("\n", "")):
        with pytest.raises(KeyUnusableError) as caught:
            PrivateKey.load(uri)
        assert pem.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o660, 0o640, 0o604, 0o620])
def test_a_key_that_others_may_touch_is_refused(tmp_path, mode):
    """Neither the group nor anybody else may read or write a private key."""
    path = tmp_path / "a.pem"
    PrivateKey.generate().save(path)
    path.chmod(mode)
    with pytest.raises(KeyUnusableError, match="chmod 600"):
        PrivateKey.load(f"file:{path}")


def test_keys_of_like_names_do_not_meet(tmp_path):
    """`log.v1` and `log.v2`, or a key called `x.pub`: each has its own public half, and none overwrites another."""
    keys = {name: PrivateKey.generate() for name in ("log.v1", "log.v2", "x.pub")}
    for name, key in keys.items():
        key.save(tmp_path / name)
    for name, key in keys.items():
        assert PublicKey.load(f"file:{tmp_path / name}.pub").key_id == key.public.key_id
        assert PrivateKey.load(f"file:{tmp_path / name}").public.key_id == key.public.key_id
