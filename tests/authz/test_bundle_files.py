from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from companyos.authz.bundles import BundleRefusedError
from companyos.authz.bundles.archive import MAX_FILES, pack, unpack
from companyos.authz.bundles.hashing import canonical, file_hash, is_structured, parse_structured
from companyos.authz.bundles.interface import RULES

SEGMENTS = st.text("abcXYZ019_@+.=-", min_size=1, max_size=12).filter(lambda text: text not in {".", ".."})
NAMES = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)


def distinct(files):
    """Whether no name is another's directory, nor the same in another letter case."""
    folded = [name.casefold() for name in files]
    return len(set(folded)) == len(folded) and not any(
        other.startswith(f"{name}/") for name in folded for other in folded
    )


def outcome(data):
    """The files of a tarball, or the rule by which it is refused."""
    try:
        return unpack(data)
    except BundleRefusedError as error:
        return error.rule


def is_within(name):
    """Whether a name stays within a bundle on every system."""
    return name.isascii() and name.isprintable() and not name.startswith("/") and ".." not in name.split("/")


FILES = st.dictionaries(NAMES, st.binary(max_size=1500), max_size=6).filter(distinct)

OPA_VECTORS = [
    # tests of the OPA project: v1/bundle/sign_test.go and v1/bundle/verify_test.go
    (".manifest", b'{"revision": "quickbrownfaux"}', "md5", "a005c38a509dc2d5a7407b9494efb2ad"),
    ("a/b/d/data.json", b"true", "md5", "b326b5062b2f0e69046810717534cb09"),
    ("data.json", b'{"x": {"y": true}, "a": {"b": {"z": true}}}', "md5", "36669864a622563256817033b1fc53db"),
    (
        "a/b/c/data.json",
        b"[1,2,3]",
        "sha512",
        (
            "60f7b5dc86ded48785436192a08dbfd04894d7f1b417c4f8d3714679a7f78cb3"
            "c833f16a8559a1cf1f32968747dc1d95ef34826263dacf125ded8f5c374be4c0"
        ),
    ),
    (
        "a/b/y/data.yaml",
        b"foo: 1",
        "sha512",
        (
            "20f27a640a233e6524fe7d138898583cd43475724806feb26be7f214e1d10b29"
            "edf6a0d3cb08f82107a45686b61b8fdabab6406cf4e70efe134f42238dbd70ab"
        ),
    ),
]


@pytest.mark.parametrize(("name", "content", "algorithm", "expected"), OPA_VECTORS)
def test_the_hashes_that_opa_publishes(name, content, algorithm, expected):
    """Structured files are hashed over the form that OPA's own tests hash."""
    assert is_structured(name)
    assert hashlib.new(algorithm, canonical(parse_structured(name, content))).hexdigest() == expected


@pytest.mark.parametrize("name", ["policy.rego", "metadata.yaml", "data.yml", "x.json", "tests/a.yaml"])
def test_all_other_files_are_hashed_as_they_are(name):
    """What OPA does not take for structured is hashed over its bytes."""
    assert file_hash(name, b"a: 1 # as it is") == hashlib.sha256(b"a: 1 # as it is").hexdigest()


def test_numbers_and_line_separators_are_spelt_as_go_spells_them():
    """A number keeps its spelling, HTML is left alone, and the separators of JavaScript are escaped."""
    content = '{"b": [1.0, 1e5, -0, 12345678901234567890], "a": "<&>\u2028\\u0008\\u0001\\"é"}'.encode()

    assert (
        canonical(parse_structured("data.json", content))
        == '{"a":"<&>\\u2028\\b\\u0001\\"é","b":[1.0,1e5,-0,12345678901234567890]}'.encode()
    )


@given(FILES)
def test_what_is_packed_comes_out_again(files):
    """Any plain names and contents survive, the same files give the same bytes, and other tools read them."""
    data = pack(files)

    assert unpack(data) == files
    assert pack(dict(reversed(files.items()))) == data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {member.name: member for member in tar}
        assert {name: tar.extractfile(member).read() for name, member in members.items()} == files
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in members.values()} <= {(0, 0, 0, 0o644)}


@given(
    FILES.filter(bool), st.sampled_from(["", "/", "./"]), st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
)
def test_archives_by_other_tools_are_read(files, prefix, form):
    """Tarballs of other tools are read, with names as OPA writes them (a slash) and as `tar .` does (a dot)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=form) as tar:
        if prefix == "./":
            root = tarfile.TarInfo(".")
            root.type = tarfile.DIRTYPE
            root.name = "./"
            tar.addfile(root)
        for name, content in files.items():
            info = tarfile.TarInfo(f"{prefix}{name}")
            info.size, info.mtime = len(content), 1_700_000_000
            tar.addfile(info, io.BytesIO(content))

    assert unpack(out.getvalue()) == files


def test_the_header_of_gzip_says_nothing():
    """Neither a name nor a time is in the gzip header."""
    data = pack({"a.rego": b"x"})

    assert data[3] == 0
    assert data[4:8] == bytes(4)


@given(st.binary(max_size=3000))
@example(b"")
@example(gzip.compress(b""))
@example(gzip.compress(bytes(512)))
@example(gzip.compress(bytes(1024)) + gzip.compress(bytes(1024)))
def test_bytes_are_refused_by_name(data):
    """Whatever is no bundle is refused by a rule, never by an error of another kind."""
    for candidate in (data, gzip.compress(data, 1, mtime=0)):
        assert outcome(candidate) == {} or outcome(candidate) in RULES


@given(FILES.filter(bool), st.data())
def test_a_changed_archive_is_refused_or_plain(files, data):
    """With any byte of the archive changed, what comes out has plain names, or it is refused by a rule."""
    tar = bytearray(zlib.decompress(pack(files), 31))
    place = data.draw(st.integers(0, len(tar) - 1))
    tar[place] ^= data.draw(st.integers(1, 255))
    found = outcome(gzip.compress(bytes(tar), 1))

    assert found in RULES if isinstance(found, str) else all(map(is_within, found))


@given(st.text(max_size=40), st.booleans())
@example("../x", False)
@example("/etc/passwd", False)
@example("a/../../x", True)
def test_no_name_leads_out(name, directory):
    """Whatever a member is called, a name that is read stays within the bundle."""
    out = io.BytesIO()
    try:
        with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(tarfile.TarInfo("plain.rego"))
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
            tar.addfile(info)
    except ValueError:
        return  # a name that no archive holds
    found = outcome(out.getvalue())

    assert found in RULES if isinstance(found, str) else all(map(is_within, found))


def test_a_bomb_is_refused_before_it_is_unpacked():
    """A gigabyte of zeros in a megabyte is refused after its first bytes, as is a small one, and too many files."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(1024)), compressor.flush()])

    with pytest.raises(BundleRefusedError, match=r"bundle\.size: too large unpacked"):
        unpack(bomb)
    with pytest.raises(BundleRefusedError, match=r"bundle\.size: compressed too well"):
        unpack(gzip.compress(bytes(20 << 20)))
    with pytest.raises(BundleRefusedError, match=r"bundle\.size: too many files"):
        unpack(pack({f"f{number}": str(number).encode() * 7 for number in range(MAX_FILES + 1)}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ).filter(lambda value: "inf" not in repr(value)),
    st.sampled_from([None, 1, 4]),
)
def test_white_space_and_order_do_not_matter(value, indent):
    """However JSON is laid out, a structured file has one hash; and the canonical form is JSON of the same value."""
    try:
        one = json.dumps(value, ensure_ascii=False).encode()
        two = json.dumps(value, indent=indent, sort_keys=True).encode()
        hashed = file_hash("data.json", one)
    except (UnicodeEncodeError, BundleRefusedError):
        return  # a lone surrogate

    assert hashed == file_hash("data.json", two)
    assert json.loads(canonical(parse_structured("data.json", one))) == value


@pytest.mark.parametrize(
    "content",
    [b'{"a": 1, "a": 1}', b"\xff", b"NaN", b'"\\ud800"', b"[" * 200, b"1" * 500, b"{} {}", b"", b"\xef\xbb\xbf{}"],
)
def test_json_that_readers_differ_on_is_refused(content):
    """JSON that one reader takes and another does not, or takes for something else, is no data."""
    with pytest.raises(BundleRefusedError, match=r"bundle\.data"):
        file_hash("data.json", content)


@pytest.mark.parametrize("content", [b"a: 1.5", b"a: 2026-01-01", b"1: a", b"a: &x 1\nb: *x", b"a: 1\na: 2", b"\xff"])
def test_yaml_that_readers_differ_on_is_refused(content):
    """YAML beyond text, integers, true, false and null is no data."""
    with pytest.raises(BundleRefusedError, match=r"bundle\.data"):
        file_hash("data.yaml", content)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(tarfile.PAX_FORMAT, "policies/" + "a" * 120 + ".rego", id="pax"),
        pytest.param(tarfile.GNU_FORMAT, "policies/" + "a" * 120 + ".rego", id="gnu"),
    ],
)
def test_what_tar_writes_with_its_extensions_is_refused_as_that(kind, name):
    """A file whose name is too long for ustar is no device: the message says what is the matter, and a way out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=kind) as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(BundleRefusedError) as caught:
        unpack(buffer.getvalue())

    assert caught.value.rule == "bundle.extension"
    assert "ustar" in caught.value.message
