"""Published vectors: real logs, real witnesses and the test data of other implementations, checked by our readers."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from companyos.ledger import Checkpoint, CheckpointInvalidError, Proof, ProofInvalidError
from companyos.ledger.checkpoint import Consistency
from companyos.ledger.merkle import Frontier, leaf_hash, root_from_path, verify_consistency
from companyos.ledger.tilelog import tile_path
from companyos.signing import Note, NoteVerifier, SignatureInvalidError, UntrustedError
from companyos.signing.cosignature import CosignatureVerifier

# Go's checksum database. The key is in cmd/go; the checkpoints are printed in google/trillian-examples,
# witness/golang/cmd/addrwitness/README.md (with two signatures of a witness of 2023), and in an article on `go.sum`.
SUMDB_ORIGIN = "go.sum database tree"
SUMDB = NoteVerifier.from_vkey("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
SUMDB_NOTES = {
    15081221: """go.sum database tree
15081221
BoMMe1wd25Tco0mYGROkyqxHZWx+hcSCtMV315Lu6Lg=

— sum.golang.org Az3grilD7vQqTrv66jRgKM84Y80KTprrSt4bKmiOPxgmS5ZVBTeCl6dUvjYnN13R+C8j0jGY1WnUADGMkok3U0m2Zgo=
— test.example.com qTGhC3917mAr6hGh+T55tNjxaej/D/GQivJZRIj7XGdAcQOTqfMWIPgp/v/904LEduN/h2sSRtHUJXUL4b9Gm7Bz4Qc=
— test.example.com /Pa7Y/dUvWMAAAAAQVwkQVi81ArPV7BIaQYrMIxyzY0m8a4BdeeBhSKd3PviPK4/3Sd+NKSc5N7PDTCfAkUSVniN+R2oKIggA4iiDQ==
""",  # noqa: E501 - as published
    63096908: """go.sum database tree
63096908
8lHrQPRYe4KT4WQ9/Qk8/taKnD6IRHbFgfN7vQE2Y54=

— sum.golang.org Az3gri/oVBN1jAhNZ/iS+W31psFAWRT20/GyrhpU6taFwulQGetBkH5S7wpGXdS935jiIGiUUAXBVHzT/P6fYhqAmAk=
""",
}

# A Certificate Transparency log of 2026 with the cosignatures of four witnesses of the public network, and their keys.
ARCHE = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501 - as published
ARCHE_LOG = NoteVerifier.from_vkey(
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
)
ARCHE_WITNESSES = (
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
)

# golang.org/x/mod/sumdb/client_test.go: key, records, signed trees, and the proof of misbehaviour that it prints.
TEST_SUMDB = NoteVerifier.from_vkey("localhost.localdev/sumdb+00000c67+AcTrnkbUA+TU4heY3hkjiSES/DSQniBqIeQ/YppAUtK6")
FIVE_ROOT, SIX_ROOT = "nWzN20+pwMt62p7jbv1/NlN95ePTlHijabv5zO/s36w=", "wc4SkQt52o5W2nQ8To2ARs+mWuUJjss+sdleoiqxMmM="
FIVE = "AAAMZ5/2FVAdMH58kmnz/0h299pwyskEbzDzoa2/YaPdhvLya4YWDFQQxu2TQb5GpwAH4NdWnTwuhILafisyf3CNbgg="
SIX = "AAAMZ6oRNswlEZ6ZZhxrCvgl1MBy+nusq4JU+TG6Fe2NihWLqOzb+y2c2kzRLoCr4tvw9o36ucQEnhc20e4nA4Qc/wc="
FIVE_OF_SIX = "T7i+H/8ER4nXOiw4Bj0koZOkGjkxoNvlI34GpvhHhQg="
MISBEHAVIOUR = [
    "Nsuejv72de9hYNM5bqFv8rv3gm3zJQwv/DT/WNbLDLA=",
    "mOmqqZ1aI/lzS94oq/JSbj7pD8Rv9S+xDyi12BtVSHo=",
    "/7Aw5jVSMM9sFjQhaMg+iiDYPMk6decH7QLOGrL9Lx0=",
]
TEXT = "v0.0.0-20170915032832-14c0d48ead0c"
RECORDS = [
    "\n".join((*record, ""))
    for record in (
        (
            "rsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=",
            "rsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=",
            "rsc.io/quote v1.5.2 h2:xyzzy",
        ),
        (
            f"golang.org/x/text {TEXT} h1:qgOY6WgZOaTkIIMiVjBQcw93ERBE4m30iBm00nkL0i8=",
            f"golang.org/x/text {TEXT}/go.mod h1:NqM8EUOU14njkJ3fqMW+pc6Ldnwhi/IjpwHt7yyuwOQ=",
        ),
        (
            "rsc.io/sampler v1.3.0 h1:7uVkIFmeBqHfdjD+gZwtXXI+RODJ2Wc4O7MPEh/QiW4=",
            "rsc.io/sampler v1.3.0/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=",
        ),
        ("rsc.io/Quote v1.5.2 h1:uppercase!=",),
    )
]

# Google's log Argon 2020, as kept in golang.org/x/mod/sumdb/tlog/testdata/argon2020.
ARGON_SIZE, ARGON_ROOT = 961984013, "dwlueapdd7LaOEnX2W2Wp9v2XE+KzejHRQGHwEx0oaM="
ARGON_OLD_SIZE, ARGON_OLD_ROOT = 3654490, "AuIZ5V6sDUj1vn3Y1K85oOaQ7y+FJJKtyRTl1edIKBQ="
ARGON_INDEX, ARGON_LEAF = 10000, "nCs3mfIydh9x4CKyQ+u2xtmpxmFggA5MLymHwNQSlLg="
ARGON_CONSISTENCY = [
    "80Sfbj6UQEdVSZCSIgh9NMPj3vCBzcc1A48B2crJSWg=",
    "FZcrgAHUk6nNPviJZq8kEK6jCG1d18pJOFE45ZDc1TQ=",
    "Q67reWXmPBo1UfmwBap4Xi9PMPfFdUSSw3WGlRZdG7k=",
    "eJ7CyhR4PxzBxDIsWgrVYW1eFUb9ndgf46tFmiqVrxA=",
    "QrDwp062Grm5WY8KdrhFsBuuNjGzRox2Jb8PmVL5OYw=",
    "XM4YMjMEdLH/XJam/ZWyaP14k3cmsOtnPsOWQ54lW1s=",
    "SGiBh+jOTGccXU48ZzgQ88lRcBmtB4wz4oSDndv2QTg=",
    "WAS6txqNLYKGL1GdBdpqmV42TTfn6cJsuDsqLXuTCNI=",
    "QFmRS0rirUA7ZN3lxFjDncV+E1OCrn3NUB4RCp+5fzc=",
    "Hdbp7It2XBNZmNDBpCN/KPd7vfVqxgzwOosqVIaEA9E=",
    "mxvHL0ZiblBdD7j7pIa1jlfB0gSqfJ6oX0UGo7L0VsU=",
    "q5hjyvoW6TL/PThgcitpDcSTrnKX2p1+aqscqH2euRA=",
    "jTOWDqt3IHj2NVFeezyBz2ofpru+ztEywqKUAfFclKI=",
    "GIRn0w3HqJdvU9j1WVD//eR6lk2AaTVjyzjsJNP8U88=",
    "x52GJvxG81fnQBrgOTbll1A5tz95/LXK0Ag1NhB0r1I=",
    "6/0OqrcTgc3o5dD5PymmoC96lB9yLPFuTHVvLy8fSGk=",
    "Gf+iKLfcXO5l4JEFmsZvSdG5q1uEeWPfYLrds6pmjz0=",
    "DGuaco+McyM3AfRSF6qX7RwSetwe2ieYJmxw5e9rVx0=",
    "2tQJ9V32hnYp+fdpP6TcjmgJmLeNVOMKM0Ml1kk4cNU=",
    "3PapK+IkyJr8I9yAErAmzuZezzLMzsg+PfeRCgNW8NQ=",
    "s6xiYeejb+wtqHA+URJZ2I/SCPyIW8coP6aB00FJbMY=",
    "z9lSpmdTcr5M5ZzKlc4EPh3SrSypKFdk6JUF/UccaZU=",
    "GXIElfmnRuWfbA4z7ubV/UwlpSRUbUeec7oL5HDDnh0=",
    "pR0SH/NYP6s9+8azWwaeUXA4Ze/3WCIgMfh5YW6wvcE=",
    "f3GuAKYVrF8RBg3s15jvA/YvV9oAliWtzP/imwPhQVA=",
    "WHn8zDxlVgkV+lSlmzaOdfSBrTHoRr5nT3d76q0KKWE=",
    "f2uV2ZxVgULzLPKuZcowRY3ZY7fRlX59iDBjV1R8kNQ=",
    "NzQVjJsvQwbi7WStMr9oFkh9VbHfK7LB6o7WwAqwNTs=",
    "C0LttBeYHZHgL+032JIcJC3CTBIyza/hsbmJUgJfmDI=",
    "nixU5CWTFVDlF4BGdcU6kA7WSYurEpe9jRWc+F/7sOc=",
]
ARGON_INCLUSION = [
    "T46AmJsuOM/gFiGlUp+IJJebp+1Z5qratFNW7U0JyOQ=",
    "9Jj1Feodn42uRYEfffkV4HF/EIPFQ5Zo9IwkxbQ2uhk=",
    "D53/1oCNebF4J59HHgioovKZxrmrKcVuCVhy3Izg8Ck=",
    "wSFDgGSrsXRPA+1c8WHoAFCsWeUv8NDyP/Q/SgsyVyY=",
    "516/RcwsgdwdzHn18v1dJHqBkgFUbNhmCIWOGjsMJaE=",
    "naTFY2ajLFgrgs5XUl+zJYZnnlJksLGsA1VYwpLfqbY=",
    "mKBRJo6qao+0Kdh/rhGkZUbHUAxMhrtrclrTpIbNjIg=",
    "Co4ueOFE7lpifLio94irxxsv1wFMMaK3tPu2ZQkHlro=",
    "yRgy800K6JMYCC05sWfqF2kvCg2riT/pVM+nEa6V5+0=",
    "n2O38XJZC8/Wpbwi9HhgVizlUyeUHVZvYyQB1607MRc=",
    "go3tAjuNfNSCj87y2Rg1xOroDknGN1eaf3cgvzObf7Q=",
    "8D0Mj3/J7ySSnFb0afIHYXv6rlOhECnsebY6XKi1IR8=",
    "6rcez46ZU8M5vPiWVMAUfJfAOV0pPP/mch/lYzZhj/M=",
    "2rtIeXrPvSdUyHc5maIgSAVB2BzaKaupWxSAiVayDE4=",
    "nniW/IMFQPN5xw8UsHFn7CRStYbm1gLu7NNa6kkRqJQ=",
    "mRPPi7sQS22MduIEyvcNzCNFqIt6kLwYPkNKrVtIcu8=",
    "JvTivzESNS9wHI8aph5a7uieVmtS/p9PciMZ5D6GyOo=",
    "UTyQd+Ym0wY4zG+qK806bBORwi1CSVvFQ/KknnqoZj8=",
    "hXODrqN+ff+U6zPqRQ+ZQKs6im1fPcxIerDSfNwflhE=",
    "II6GE+WY/DrpZzfHztLwkR46o37zVkNLCyPYlf68zA0=",
    "d609kWWcNBllbA8Jb/ad4XAVVGnScLRmtP8FYyr+Dck=",
    "rikBsP0G0gioXRpBFED2CzQdSLrGPvRd0bEcbEZw1rI=",
    "GXIElfmnRuWfbA4z7ubV/UwlpSRUbUeec7oL5HDDnh0=",
    "pR0SH/NYP6s9+8azWwaeUXA4Ze/3WCIgMfh5YW6wvcE=",
    "f3GuAKYVrF8RBg3s15jvA/YvV9oAliWtzP/imwPhQVA=",
    "WHn8zDxlVgkV+lSlmzaOdfSBrTHoRr5nT3d76q0KKWE=",
    "f2uV2ZxVgULzLPKuZcowRY3ZY7fRlX59iDBjV1R8kNQ=",
    "NzQVjJsvQwbi7WStMr9oFkh9VbHfK7LB6o7WwAqwNTs=",
    "C0LttBeYHZHgL+032JIcJC3CTBIyza/hsbmJUgJfmDI=",
    "nixU5CWTFVDlF4BGdcU6kA7WSYurEpe9jRWc+F/7sOc=",
]

# https://c2sp.org/tlog-witness, the request, and https://c2sp.org/tlog-cosignature, the checkpoint at its head.
SOFA = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""  # noqa: E501 - as published
SOFA_WITNESS = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"  # noqa: E501 - as published
SOFA_REQUEST = f"""old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

{SOFA}"""


def hash_of(text):
    """A hash as published: in Base64."""
    return base64.b64decode(text)


@pytest.mark.parametrize("size", SUMDB_NOTES)
def test_checkpoints_of_the_go_checksum_database(size):
    """Real checkpoints of sum.golang.org verify with its public key, whoever else signed them; altered ones do not."""
    note = SUMDB_NOTES[size].encode()

    assert Checkpoint.verify(note, [SUMDB], origin=SUMDB_ORIGIN).size == size
    for wrong, origin in ((note, None), (note, "sum.golang.org"), (note.replace(b"\n", b"\n1", 1), SUMDB_ORIGIN)):
        with pytest.raises(CheckpointInvalidError):
            Checkpoint.verify(wrong, [SUMDB], origin=origin)


def test_a_log_cosigned_by_public_witnesses():
    """The cosignatures of four real witnesses hold over a real log's checkpoint, at the time that they state."""
    note = Note.parse(ARCHE.encode())
    verifiers = [CosignatureVerifier.from_vkey(vkey) for vkey in ARCHE_WITNESSES]

    assert Checkpoint.verify(ARCHE.encode(), [ARCHE_LOG]).size == 1432088532
    assert set(verifiers) == set(note.verify(verifiers))
    for verifier in verifiers:
        (signature,) = [raw for name, hint, raw in note.signatures if hint == verifier.hint]
        assert verifier.time(signature) == datetime(2026, 5, 23, 21, 50, 24, tzinfo=UTC)
        assert verifier.vkey in ARCHE_WITNESSES
        with pytest.raises(SignatureInvalidError):
            verifier.check(signature, note.text.replace("1432088532", "1432088533").encode())
    assert note.to_bytes() == ARCHE.encode()


@pytest.mark.parametrize(("size", "root", "signature"), [(5, FIVE_ROOT, FIVE), (6, SIX_ROOT, SIX)])
def test_trees_of_go(size, root, signature):
    """Go's records give the roots that Go signed, and its signatures verify."""
    added = (
        ("rsc.io/pkg1 v1.5.2 h1:hash!=\n",)
        if size == 5
        else (
            "rsc.io/pkg1 v1.5.3 h1:hash!=\n",
            "rsc.io/pkg1 v1.5.4 h1:hash!=\n",
        )
    )
    note = f"{SUMDB_ORIGIN}\n{size}\n{root}\n\n\u2014 localhost.localdev/sumdb {signature}\n".encode()
    frontier = Frontier()
    for record in (*RECORDS, *added):
        frontier.push(leaf_hash(record.encode()))

    assert frontier.root() == hash_of(root)
    expected = Checkpoint(SUMDB_ORIGIN, size, hash_of(root))
    assert expected == Checkpoint.verify(note, [TEST_SUMDB], origin=SUMDB_ORIGIN)


def test_a_proof_of_misbehaviour():
    """The proof that Go prints for a forked log holds for the fork's own past, and not for the one it signed before."""
    path = [hash_of(text) for text in MISBEHAVIOUR]

    verify_consistency(5, hash_of(FIVE_OF_SIX), 6, hash_of(SIX_ROOT), path)
    with pytest.raises(ProofInvalidError):
        verify_consistency(5, hash_of(FIVE_ROOT), 6, hash_of(SIX_ROOT), path)


def test_proofs_of_a_log_of_a_thousand_million():
    """Inclusion and consistency proofs that Google's Argon 2020 gave out hold; no other index, leaf or size does."""
    root, leaf = hash_of(ARGON_ROOT), hash_of(ARGON_LEAF)
    path = [hash_of(text) for text in ARGON_INCLUSION]
    proof = [hash_of(text) for text in ARGON_CONSISTENCY]

    assert root_from_path(ARGON_INDEX, ARGON_SIZE, leaf, path) == root
    assert root_from_path(ARGON_INDEX + 1, ARGON_SIZE, leaf, path) != root
    verify_consistency(ARGON_OLD_SIZE, hash_of(ARGON_OLD_ROOT), ARGON_SIZE, root, proof)
    for old, new in ((ARGON_OLD_SIZE - 1, ARGON_SIZE), (ARGON_OLD_SIZE, ARGON_OLD_SIZE + 1)):
        with pytest.raises(ProofInvalidError):
            verify_consistency(old, hash_of(ARGON_OLD_ROOT), new, root, proof)


def test_the_examples_of_the_specifications():
    """The request and the cosigned checkpoint that C2SP prints are read, and written again to the letter."""
    request = Consistency.from_text(SOFA_REQUEST)
    note = Note.parse((SOFA + SOFA_WITNESS).encode())

    assert (request.old_size, len(request.path), request.checkpoint) == (20852014, 4, SOFA.encode())
    assert request.to_text() == SOFA_REQUEST
    assert Checkpoint.from_text(note.text).size == 20852163
    assert [name for name, *_ in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert int.from_bytes(note.signatures[1][2][:8], "big") == 1679315147
    assert note.to_bytes() == (SOFA + SOFA_WITNESS).encode()
    with pytest.raises(UntrustedError):
        note.verify([SUMDB])


def test_the_example_of_a_proof_file():
    """A proof file in the form that C2SP prints is read; the extra data, which nothing signs, is not taken."""
    text = f"c2sp.org/tlog-proof@v1\nindex 73894\n{ARGON_ROOT}\n\n{SOFA}"

    assert (Proof.from_text(text).index, Proof.from_text(text).to_text()) == (73894, text)
    with pytest.raises(ProofInvalidError):
        Proof.from_text(text.replace("index", "extra YWdl\nindex"))


# https://c2sp.org/tlog-tiles, and golang.org/x/mod/sumdb/tlog/tlog_test.go without the height that Go has in front.
PATHS = {
    (4, 1234067, 256): "tile/4/x001/x234/067",
    (0, 1, 256): "tile/0/001",
    (0, 1, 5): "tile/0/001.p/5",
    (5, 123456078, 256): "tile/5/x123/x456/078",
    (5, 123456078, 2): "tile/5/x123/x456/078.p/2",
    (0, 3057500, 256): "tile/0/x003/x057/500",
    (None, 3057500, 256): "tile/entries/x003/x057/500",
    (None, 0, 255): "tile/entries/000.p/255",
    (0, 999, 256): "tile/0/999",
    (0, 1000, 256): "tile/0/x001/000",
}


@pytest.mark.parametrize(("place", "path"), PATHS.items(), ids=PATHS.values())
def test_paths_of_tiles(place, path):
    """A tile lies where the specification, and Go, put it."""
    assert tile_path(*place) == path
